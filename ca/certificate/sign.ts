// Makes certificates from profiles: the one place where the CA's keys sign certificates. It decides nothing; what is signed here
// is read again by check-issued.ts before anybody gets it: template, signature, check.

import { randomBytes, verify, X509Certificate } from 'node:crypto'
import { NotDer } from '../../mesh/der.js'
import { MeshError } from '../../mesh/errors.js'
import { type Checked, type CheckedIssuer, checkIssued, readIssuer } from './check-issued.js'
import type { Profile, Validity } from './profile.js'
import type { SigningKey } from './signing-key.js'
import { type Issuer, writeCertificate, writeName, writeTemplate } from './template.js'

/** A CA certificate and its key. */
export interface Signer extends Validity {
  readonly certificate: X509Certificate
  readonly key: SigningKey
  /** What stands of it in what it signs. */
  readonly issuer: Issuer
  /** The same, for the check of what it signed. */
  readonly checked: CheckedIssuer
}

/** Signed once to prove a key: no certificate or CRL begins like this. */
const PROOF = Buffer.from('troth: this key belongs to its CA certificate')

/**
 * Puts a CA certificate and its key together.
 * @throws MeshError STATE_UNREADABLE when the key is not the certificate's; and what the key throws when it signs
 */
export async function openSigner(certificate: X509Certificate, key: SigningKey): Promise<Signer> {
  const isItsKey =
    key.spkiDer.equals(certificate.publicKey.export({ format: 'der', type: 'spki' })) &&
    verify('sha256', PROOF, certificate.publicKey, await key.sign(PROOF))
  if (!isItsKey) throw new MeshError('STATE_UNREADABLE', 'the CA key does not belong to the CA certificate')
  const checked = issuerOf(certificate)
  const { subjectDer, notBefore, notAfter } = checked
  const keyId = Buffer.from(checked.keyId, 'hex')
  return { certificate, key, issuer: { subjectDer, keyId }, checked, notBefore, notAfter }
}

function issuerOf(certificate: X509Certificate): CheckedIssuer {
  try {
    return readIssuer(certificate)
  } catch (error) {
    if (!(error instanceof NotDer)) throw error
    throw new MeshError('STATE_UNREADABLE', 'the CA certificate is not of a form that this CA makes', {
      cause: error,
    })
  }
}

/**
 * Signs a profile for a public key, and reads again what was signed.
 * @param spkiDer SubjectPublicKeyInfo
 * @throws MeshError ISSUE_CHECK_FAILED; and what the key throws when it signs
 */
export async function signChecked(profile: Profile, spkiDer: Uint8Array, signer: Signer): Promise<Checked> {
  const der = await signUnchecked(profile, spkiDer, signer)
  return checkIssued(der, { profile, spkiDer, issuer: signer.checked })
}

/** As `signChecked`: the certificate alone, which OpenSSL has read besides. */
export async function signCertificate(
  profile: Profile,
  spkiDer: Uint8Array,
  signer: Signer,
): Promise<X509Certificate> {
  return new X509Certificate((await signChecked(profile, spkiDer, signer)).der)
}

/** Signs a root with its own key, and reads it again. @throws MeshError ISSUE_CHECK_FAILED; and what the key throws */
export async function signRoot(profile: Profile, key: SigningKey): Promise<X509Certificate> {
  const issuer = { subjectDer: writeName(profile.subject), keyId: null }
  const der = await signUnchecked(profile, key.spkiDer, { issuer, key })
  return new X509Certificate(checkIssued(der, { profile, spkiDer: key.spkiDer, issuer: null }).der)
}

/** A certificate, DER, that nobody has read yet: never to be handed out. */
export async function signUnchecked(
  profile: Profile,
  spkiDer: Uint8Array,
  { issuer, key }: Pick<Signer, 'issuer' | 'key'>,
): Promise<Buffer> {
  const tbs = writeTemplate({ profile, spkiDer, issuer, serial: newSerial() })
  return writeCertificate(tbs, await key.sign(tbs))
}

/** 16 octets, the first from 0x40 to 0x7f: positive, never shortened by DER, 126 random bits (RFC 5280 §4.1.2.2). */
function newSerial(): Buffer {
  const serial = randomBytes(16)
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40
  return serial
}
