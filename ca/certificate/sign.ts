// Makes certificates from profiles: the one place where the CA's keys sign. It decides nothing; what is signed here is read
// again by check-issued.ts before anybody gets it.

import 'reflect-metadata'
import { type KeyObject, randomBytes, webcrypto, X509Certificate } from 'node:crypto'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Name,
  X509Certificate as ParsedCertificate,
  PublicKey,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'
import { MeshError } from '../../mesh/errors.js'
import type { Profile, Validity } from './profile.js'

/** A CA certificate and its opened key. */
export interface Signer extends Validity {
  readonly certificate: X509Certificate
  readonly key: webcrypto.CryptoKey
}

const ECDSA = { name: 'ECDSA', namedCurve: 'P-256' } as const

/** @throws MeshError STATE_UNREADABLE when the key is not the certificate's */
export async function openSigner(certificate: X509Certificate, key: KeyObject): Promise<Signer> {
  if (!certificate.checkPrivateKey(key))
    throw new MeshError('STATE_UNREADABLE', 'the CA key does not belong to the CA certificate')
  return {
    certificate,
    key: await importKey(key),
    notBefore: Date.parse(certificate.validFrom),
    notAfter: Date.parse(certificate.validTo),
  }
}

/** Signs a profile for a public key (SubjectPublicKeyInfo DER). */
export async function signCertificate(
  profile: Profile,
  spkiDer: Uint8Array,
  signer: Signer,
): Promise<X509Certificate> {
  const issuer = new ParsedCertificate(signer.certificate.raw)
  const issuerKeyId = issuer.getExtension(SubjectKeyIdentifierExtension)?.keyId
  if (issuerKeyId === undefined)
    throw new MeshError('STATE_UNREADABLE', 'the CA certificate has no subject key identifier')
  return make(profile, spkiDer, {
    // the Name itself, not its text: issuer bytes must be the CA's subject bytes
    issuer: issuer.subjectName,
    key: signer.key,
    extensions: [new AuthorityKeyIdentifierExtension(issuerKeyId)],
  })
}

/** Signs a root with its own key. */
export async function signRoot(
  profile: Profile,
  spkiDer: Uint8Array,
  key: KeyObject,
): Promise<X509Certificate> {
  return make(profile, spkiDer, { issuer: nameOf(profile), key: await importKey(key), extensions: [] })
}

async function make(
  profile: Profile,
  spkiDer: Uint8Array,
  by: { issuer: Name; key: webcrypto.CryptoKey; extensions: Extension[] },
): Promise<X509Certificate> {
  const publicKey = new PublicKey(new Uint8Array(spkiDer))
  const signed = await X509CertificateGenerator.create(
    {
      serialNumber: newSerial(),
      subject: nameOf(profile),
      issuer: by.issuer,
      notBefore: new Date(profile.notBefore),
      notAfter: new Date(profile.notAfter),
      publicKey,
      signingKey: by.key,
      signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
      extensions: [
        ...usageOf(profile),
        new SubjectAlternativeNameExtension([
          { type: 'url', value: profile.uri },
          ...profile.dns.map((value) => ({ type: 'dns' as const, value })),
          ...profile.ip.map((value) => ({ type: 'ip' as const, value })),
        ]),
        await SubjectKeyIdentifierExtension.create(publicKey, false, webcrypto),
        ...by.extensions,
      ],
    },
    webcrypto,
  )
  return new X509Certificate(Buffer.from(signed.rawData))
}

function usageOf({ usage }: Profile): Extension[] {
  if (usage === 'leaf') {
    return [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.clientAuth, ExtendedKeyUsage.serverAuth]),
    ]
  }
  return [
    new BasicConstraintsExtension(true, usage === 'root' ? 1 : 0, true),
    new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
  ]
}

const OIDS = { CN: '2.5.4.3', O: '2.5.4.10', serialNumber: '2.5.4.5' } as const

function nameOf({ subject }: Profile): Name {
  return new Name(subject.map(({ attribute, value }) => ({ [OIDS[attribute]]: [value] })))
}

/** 16 octets, the first from 0x40 to 0x7f: positive, never shortened by DER, 126 random bits (RFC 5280 §4.1.2.2). */
function newSerial(): string {
  const serial = randomBytes(16)
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40
  return serial.toString('hex')
}

function importKey(key: KeyObject): Promise<webcrypto.CryptoKey> {
  return webcrypto.subtle.importKey('pkcs8', key.export({ format: 'der', type: 'pkcs8' }), ECDSA, false, [
    'sign',
  ])
}
