// What one certificate says, read strictly from its DER: the only door of the language to an ASN.1 parser. It refuses what two
// readers could read differently (doubled extensions, unknown critical ones) and judges nothing else (RFC 5280 §4.2).

import 'reflect-metadata'
import type { X509Certificate } from 'node:crypto'
import * as x509 from '@peculiar/x509'
import { MeshError } from './errors.js'
import { type Plain, readPlain } from './plain-certificate.js'

export interface Certificate {
  /** The names as encoded: issuer and subject are compared byte by byte. */
  readonly subjectDer: Buffer
  readonly issuerDer: Buffer
  /** Instants, ms since epoch. */
  readonly notBefore: number
  readonly notAfter: number
  readonly serial: string
  /** Basic constraints: `pathLength` null is unlimited. */
  readonly isCa: boolean
  readonly isCaCritical: boolean
  readonly pathLength: number | null
  /** Null when there is no key usage extension. */
  readonly keyUsage: KeyUsage | null
  /** OIDs; null when there is no such extension. */
  readonly extendedKeyUsage: readonly string[] | null
  /** Every URI among the subject alternative names, in order. */
  readonly uris: readonly string[]
  /** The serialNumber attribute of the subject (X.520), not the certificate's own. */
  readonly subjectSerialNumber: string | null
  /** True when it is signed with ECDSA over SHA-256, SHA-384 or SHA-512. */
  readonly isSignedWithEcdsa: boolean
}

export interface KeyUsage {
  readonly critical: boolean
  readonly digitalSignature: boolean
  readonly keyCertSign: boolean
  readonly crlSign: boolean
}

const SUBJECT_ALTERNATIVE_NAME = '2.5.29.17'
const KEY_USAGE = '2.5.29.15'
const BASIC_CONSTRAINTS = '2.5.29.19'
const EXTENDED_KEY_USAGE = '2.5.29.37'
const NAME_CONSTRAINTS = '2.5.29.30'
/** Name constraints are enforced by TLS itself, which the judge requires beside its own rules. */
const UNDERSTOOD = new Set([
  SUBJECT_ALTERNATIVE_NAME,
  KEY_USAGE,
  BASIC_CONSTRAINTS,
  EXTENDED_KEY_USAGE,
  NAME_CONSTRAINTS,
])
const SUBJECT_SERIAL_NUMBER = '2.5.4.5'
const HASHES = new Set(['SHA-256', 'SHA-384', 'SHA-512'])

/** @throws MeshError PEER_CERT_MALFORMED */
export function readCertificate(certificate: X509Certificate): Certificate {
  try {
    return read(certificate)
  } catch (error) {
    if (error instanceof MeshError) throw error
    throw new MeshError('PEER_CERT_MALFORMED', 'a certificate cannot be parsed', { cause: error })
  }
}

function read(certificate: X509Certificate): Certificate {
  const says = readPlain(certificate.raw) ?? readFully(certificate.raw)
  const serial = certificate.serialNumber.toLowerCase()
  if (!/^[0-9a-f]{1,40}$/.test(serial) || /^0*$/.test(serial))
    throw new MeshError('PEER_CERT_MALFORMED', 'a serial number is not positive or has more than 20 bytes')
  return { ...says, serial }
}

/**
 * What any certificate says that the library can read. Its own serial number is not read here.
 * @throws MeshError PEER_CERT_MALFORMED; Error of the library
 */
export function readFully(der: Buffer): Plain {
  const parsed = new x509.X509Certificate(der)
  checkExtensions(parsed.extensions)
  const constraints = parsed.getExtension(x509.BasicConstraintsExtension)
  return {
    subjectDer: Buffer.from(parsed.subjectName.toArrayBuffer()),
    issuerDer: Buffer.from(parsed.issuerName.toArrayBuffer()),
    notBefore: parsed.notBefore.getTime(),
    notAfter: parsed.notAfter.getTime(),
    isCa: constraints?.ca ?? false,
    isCaCritical: constraints?.critical ?? false,
    pathLength: constraints?.pathLength ?? null,
    keyUsage: keyUsageOf(parsed),
    extendedKeyUsage: parsed.getExtension(x509.ExtendedKeyUsageExtension)?.usages.map(String) ?? null,
    uris: urisOf(parsed),
    subjectSerialNumber: parsed.subjectName.getField(SUBJECT_SERIAL_NUMBER)[0] ?? null,
    isSignedWithEcdsa: isSignedWithEcdsa(parsed),
  }
}

function checkExtensions(extensions: readonly x509.Extension[]): void {
  const seen = new Set<string>()
  for (const { type, critical } of extensions) {
    if (seen.has(type)) throw new MeshError('PEER_CERT_MALFORMED', `extension ${type} is there twice`)
    if (critical && !UNDERSTOOD.has(type))
      throw new MeshError('PEER_CERT_MALFORMED', `critical extension ${type} is not understood`)
    seen.add(type)
  }
}

function keyUsageOf(parsed: x509.X509Certificate): KeyUsage | null {
  const extension = parsed.getExtension(x509.KeyUsagesExtension)
  if (extension === null) return null
  const { critical, usages } = extension
  const has = (flag: x509.KeyUsageFlags): boolean => (usages & flag) !== 0
  return {
    critical,
    digitalSignature: has(x509.KeyUsageFlags.digitalSignature),
    keyCertSign: has(x509.KeyUsageFlags.keyCertSign),
    crlSign: has(x509.KeyUsageFlags.cRLSign),
  }
}

function urisOf(parsed: x509.X509Certificate): string[] {
  const extension = parsed.getExtension(x509.SubjectAlternativeNameExtension)
  return (extension?.names.items ?? []).filter(({ type }) => type === 'url').map(({ value }) => value)
}

function isSignedWithEcdsa(parsed: x509.X509Certificate): boolean {
  const { name, hash } = parsed.signatureAlgorithm as { name: string; hash?: { name: string } }
  return name === 'ECDSA' && HASHES.has(hash?.name ?? '')
}
