// Makes one certificate from a description, however wrong: the generator under the throw-away hierarchy and its wrong leaves.
// Right certificates follow RFC 5280 as measured with other people's validators: the issuer is the CA's Name as encoded (its
// text would be re-encoded), serials are 16 octets, positive and never shortened by DER.

import 'reflect-metadata'
import { createPrivateKey, createPublicKey, randomBytes, webcrypto, X509Certificate } from 'node:crypto'
import * as x509 from '@peculiar/x509'

export type KeyKind = 'P-256' | 'P-384' | 'P-521' | 'Ed25519' | 'RSA'

/** Both PEM: PKCS#8 and SubjectPublicKeyInfo. */
export interface KeyPair {
  readonly privatePem: string
  readonly publicPem: string
}

/** A certificate with its private key. */
export interface Signer {
  readonly certificate: X509Certificate
  readonly keyPem: string
}

export interface Description {
  /** Subject, in order: attribute type (OID or `CN`) and value. */
  readonly subject: readonly (readonly [type: string, value: string])[]
  readonly uris: readonly string[]
  readonly dns: readonly string[]
  readonly ips: readonly string[]
  /** Instants, ms since epoch; cut to seconds. */
  readonly notBefore: number
  readonly notAfter: number
  /** Null: a leaf. `pathLength` null: unlimited. */
  readonly ca: { readonly pathLength: number | null } | null
  readonly keyUsage: { readonly flags: x509.KeyUsageFlags; readonly critical: boolean } | null
  /** OIDs; null leaves the extension out. */
  readonly extendedKeyUsage: readonly string[] | null
  /** Added as they are. */
  readonly extensions: readonly x509.Extension[]
  readonly publicPem: string
}

const KEYS = {
  'P-256': { name: 'ECDSA', namedCurve: 'P-256' },
  'P-384': { name: 'ECDSA', namedCurve: 'P-384' },
  'P-521': { name: 'ECDSA', namedCurve: 'P-521' },
  Ed25519: { name: 'Ed25519' },
  RSA: {
    name: 'RSASSA-PKCS1-v1_5',
    hash: 'SHA-256',
    modulusLength: 2048,
    publicExponent: Uint8Array.of(1, 0, 1),
  },
} as const

export async function makeKey(kind: KeyKind): Promise<KeyPair> {
  const pair = (await webcrypto.subtle.generateKey(KEYS[kind], true, [
    'sign',
    'verify',
  ])) as webcrypto.CryptoKeyPair
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', pair.privateKey))
  const key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })
  return { privatePem: key.export({ type: 'pkcs8', format: 'pem' }).toString(), publicPem: publicPemOf(key) }
}

/** Signed by `signer`, or by its own key when that is given instead of a signer. */
export async function makeCertificate(
  what: Description,
  signer: Signer | { readonly selfKeyPem: string },
): Promise<X509Certificate> {
  const subject = nameOf(what.subject)
  const publicKey = new x509.PublicKey(derOf(what.publicPem))
  const by = 'selfKeyPem' in signer ? undefined : new x509.X509Certificate(signer.certificate.raw)
  const signingKey = await importKey('selfKeyPem' in signer ? signer.selfKeyPem : signer.keyPem)
  const made = await x509.X509CertificateGenerator.create(
    {
      serialNumber: makeSerial(),
      subject,
      issuer: by?.subjectName ?? subject,
      notBefore: new Date(what.notBefore),
      notAfter: new Date(what.notAfter),
      publicKey,
      signingKey,
      signingAlgorithm: { ...signingKey.algorithm, hash: 'SHA-256' },
      extensions: [
        ...usagesOf(what),
        ...namesOf(what),
        await x509.SubjectKeyIdentifierExtension.create(publicKey, false, webcrypto),
        await x509.AuthorityKeyIdentifierExtension.create(by?.publicKey ?? publicKey, false, webcrypto),
        ...what.extensions,
      ],
    },
    webcrypto,
  )
  return new X509Certificate(Buffer.from(made.rawData))
}

/** The public half of a key, PEM. */
export function publicPemOf(key: ReturnType<typeof createPrivateKey>): string {
  return createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString()
}

function usagesOf({ ca, keyUsage, extendedKeyUsage }: Description): x509.Extension[] {
  const extensions: x509.Extension[] = [
    new x509.BasicConstraintsExtension(ca !== null, ca?.pathLength ?? undefined, true),
  ]
  if (keyUsage !== null) extensions.push(new x509.KeyUsagesExtension(keyUsage.flags, keyUsage.critical))
  if (extendedKeyUsage !== null)
    extensions.push(new x509.ExtendedKeyUsageExtension([...extendedKeyUsage], false))
  return extensions
}

function namesOf({ subject, uris, dns, ips }: Description): x509.Extension[] {
  const names = [
    ...uris.map((value) => ({ type: 'url' as const, value })),
    ...dns.map((value) => ({ type: 'dns' as const, value })),
    ...ips.map((value) => ({ type: 'ip' as const, value })),
  ]
  return names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names, subject.length === 0)]
}

const OIDS: Readonly<Record<string, string>> = { CN: '2.5.4.3', O: '2.5.4.10', serialNumber: '2.5.4.5' }

const nameOf = (subject: Description['subject']): x509.Name =>
  new x509.Name(subject.map(([type, value]) => ({ [OIDS[type] ?? type]: [value] })))

function makeSerial(): string {
  const serial = randomBytes(16)
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40
  return serial.toString('hex')
}

const derOf = (publicPem: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(createPublicKey(publicPem).export({ type: 'spki', format: 'der' }))

async function importKey(keyPem: string): Promise<webcrypto.CryptoKey> {
  const key = createPrivateKey(keyPem)
  const der = key.export({ type: 'pkcs8', format: 'der' })
  return webcrypto.subtle.importKey('pkcs8', der, algorithmOf(key), false, ['sign'])
}

function algorithmOf(key: ReturnType<typeof createPrivateKey>): (typeof KEYS)[KeyKind] {
  if (key.asymmetricKeyType === 'rsa') return KEYS.RSA
  if (key.asymmetricKeyType === 'ed25519') return KEYS.Ed25519
  const { namedCurve } = key.asymmetricKeyDetails ?? {}
  if (namedCurve === 'secp521r1') return KEYS['P-521']
  return namedCurve === 'secp384r1' ? KEYS['P-384'] : KEYS['P-256']
}
