// Makes certificates from profiles: the one place where the CA's keys sign certificates. It decides nothing; what is signed here
// is read again by check-issued.ts before anybody gets it.

import { randomBytes, verify, X509Certificate } from 'node:crypto'
import { readCertificate } from '../../mesh/certificate.js'
import { MeshError } from '../../mesh/errors.js'
import type { Profile, Validity } from './profile.js'
import type { SigningKey } from './signing-key.js'
import { type Issuer, keyIdOf, writeCertificate, writeName, writeTemplate } from './template.js'

/** A CA certificate and its key. */
export interface Signer extends Validity {
  readonly certificate: X509Certificate
  readonly key: SigningKey
  /** What stands of it in what it signs. */
  readonly issuer: Issuer
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
  const { subjectDer, notBefore, notAfter } = readCertificate(certificate)
  return { certificate, key, issuer: { subjectDer, keyId: keyIdOf(key.spkiDer) }, notBefore, notAfter }
}

/** Signs a profile for a public key (SubjectPublicKeyInfo DER). */
export function signCertificate(
  profile: Profile,
  spkiDer: Uint8Array,
  { issuer, key }: Pick<Signer, 'issuer' | 'key'>,
): Promise<X509Certificate> {
  return make({ profile, spkiDer, issuer }, key)
}

/** Signs a root with its own key. */
export function signRoot(profile: Profile, key: SigningKey): Promise<X509Certificate> {
  const issuer = { subjectDer: writeName(profile.subject), keyId: null }
  return make({ profile, spkiDer: key.spkiDer, issuer }, key)
}

async function make(
  what: { profile: Profile; spkiDer: Uint8Array; issuer: Issuer },
  key: SigningKey,
): Promise<X509Certificate> {
  const tbs = writeTemplate({ ...what, serial: newSerial() })
  return new X509Certificate(writeCertificate(tbs, await key.sign(tbs)))
}

/** 16 octets, the first from 0x40 to 0x7f: positive, never shortened by DER, 126 random bits (RFC 5280 §4.1.2.2). */
function newSerial(): Buffer {
  const serial = randomBytes(16)
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40
  return serial
}
