// Makes PKCS#12 files (RFC 7292): a private key with its certificates, for browsers, Java and whatever wants one file. The one
// place of node-forge. Its own builder takes RSA keys only, so the structure is put together here from its ASN.1 and its derivations:
// the key encrypted by PBES2 (AES-256, PBKDF2 with SHA-256), all of it under a MAC with SHA-256. Certificates are not secret.

import type { X509Certificate } from 'node:crypto'
import forge from 'node-forge'

export interface Pkcs12 {
  /** PKCS#8, DER. */
  readonly keyDer: Buffer
  /** The key's own first, then what vouches for it. */
  readonly certificates: readonly X509Certificate[]
  /** What a browser's list shows. */
  readonly friendlyName: string
  /** Printable ASCII: programs disagree how to encode more. */
  readonly passphrase: string
}

/** Of both derivations: OpenSSL, NSS and Java 17 take as many, and each costs less than a second. */
const ITERATIONS = 100_000
const SALT_BYTES = 16
const MAC_BYTES = 32
/** The purpose of the derived key (RFC 7292 appendix B.3). */
const MAC_KEY = 3

const { asn1, pki, pkcs12, md, hmac, random, util } = forge
const { Class, Type } = asn1

const OID = {
  data: '1.2.840.113549.1.7.1',
  shroudedKeyBag: '1.2.840.113549.1.12.10.1.2',
  certBag: '1.2.840.113549.1.12.10.1.3',
  x509Certificate: '1.2.840.113549.1.9.22.1',
  friendlyName: '1.2.840.113549.1.9.20',
  localKeyId: '1.2.840.113549.1.9.21',
  sha256: '2.16.840.1.101.3.4.2.1',
} as const

/** @returns DER */
export function makePkcs12({ keyDer, certificates, friendlyName, passphrase }: Pkcs12): Buffer {
  const [own] = certificates
  if (own === undefined) throw new RangeError('a key without its certificate')
  // ties the key to its certificate; any value does
  const mark = [
    attribute(OID.friendlyName, asn1.create(Class.UNIVERSAL, Type.BMPSTRING, false, friendlyName)),
    attribute(OID.localKeyId, octets(binary(Buffer.from(own.fingerprint.replaceAll(':', ''), 'hex')))),
  ]
  const bags = certificates.map((certificate) => certBag(certificate, certificate === own ? mark : []))
  const safe = der(
    sequence(data(der(sequence(...bags))), data(der(sequence(keyBag(keyDer, passphrase, mark))))),
  )
  const pfx = sequence(integer(3), data(safe), macData(safe, passphrase))
  return Buffer.from(der(pfx), 'latin1')
}

function certBag(certificate: X509Certificate, attributes: forge.asn1.Asn1[]): forge.asn1.Asn1 {
  const bag = sequence(oid(OID.x509Certificate), explicit(octets(binary(certificate.raw))))
  return safeBag(OID.certBag, bag, attributes)
}

function keyBag(keyDer: Buffer, passphrase: string, attributes: forge.asn1.Asn1[]): forge.asn1.Asn1 {
  const encrypted = pki.encryptPrivateKeyInfo(asn1.fromDer(binary(keyDer)), passphrase, {
    algorithm: 'aes256',
    prfAlgorithm: 'sha256',
    count: ITERATIONS,
    saltSize: SALT_BYTES,
  })
  return safeBag(OID.shroudedKeyBag, encrypted, attributes)
}

function macData(safe: string, passphrase: string): forge.asn1.Asn1 {
  const salt = random.getBytesSync(SALT_BYTES)
  const sha256 = md.sha256.create()
  const key = pkcs12.generateKey(passphrase, util.createBuffer(salt), MAC_KEY, ITERATIONS, MAC_BYTES, sha256)
  const mac = hmac.create()
  mac.start(sha256, key)
  mac.update(safe)
  const algorithm = sequence(oid(OID.sha256), asn1.create(Class.UNIVERSAL, Type.NULL, false, ''))
  return sequence(sequence(algorithm, octets(mac.getMac().getBytes())), octets(salt), integer(ITERATIONS))
}

function safeBag(type: string, value: forge.asn1.Asn1, attributes: forge.asn1.Asn1[]): forge.asn1.Asn1 {
  return sequence(oid(type), explicit(value), ...(attributes.length === 0 ? [] : [set(...attributes)]))
}

const data = (content: string): forge.asn1.Asn1 => sequence(oid(OID.data), explicit(octets(content)))

const attribute = (type: string, value: forge.asn1.Asn1): forge.asn1.Asn1 => sequence(oid(type), set(value))

const sequence = (...parts: forge.asn1.Asn1[]): forge.asn1.Asn1 =>
  asn1.create(Class.UNIVERSAL, Type.SEQUENCE, true, parts)

/** SET OF, in the order of DER. */
const set = (...parts: forge.asn1.Asn1[]): forge.asn1.Asn1 =>
  asn1.create(
    Class.UNIVERSAL,
    Type.SET,
    true,
    parts.sort((one, other) => (der(one) < der(other) ? -1 : 1)),
  )

const explicit = (value: forge.asn1.Asn1): forge.asn1.Asn1 =>
  asn1.create(Class.CONTEXT_SPECIFIC, Type.NONE, true, [value])

const oid = (dotted: string): forge.asn1.Asn1 =>
  asn1.create(Class.UNIVERSAL, Type.OID, false, asn1.oidToDer(dotted).getBytes())

const octets = (content: string): forge.asn1.Asn1 =>
  asn1.create(Class.UNIVERSAL, Type.OCTETSTRING, false, content)

const integer = (value: number): forge.asn1.Asn1 =>
  asn1.create(Class.UNIVERSAL, Type.INTEGER, false, asn1.integerToDer(value).getBytes())

const der = (value: forge.asn1.Asn1): string => asn1.toDer(value).getBytes()

/** forge keeps octets in strings. */
const binary = (bytes: Buffer): string => bytes.toString('latin1')
