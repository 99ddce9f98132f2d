// What any certificate says that @peculiar/x509 can read: those of other CAs, and the malformed ones of strangers. The library takes 20 MB
// and is loaded when the first of them comes, which in a mesh of its own may be never.

import { createRequire } from 'node:module'
import type * as X509 from '@peculiar/x509'
import type { KeyUsage } from './certificate.js'
import { MeshError } from './errors.js'
import type { Plain } from './plain-certificate.js'

const load = createRequire(import.meta.url)

function library(): typeof X509 {
  load('reflect-metadata')
  return load('@peculiar/x509') as typeof X509
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

/**
 * What any certificate says that the library can read. Its own serial number is not read here.
 * @throws MeshError PEER_CERT_MALFORMED; Error of the library
 */
export function readFully(der: Buffer): Plain {
  const x509 = library()
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
    keyUsage: keyUsageOf(parsed, x509),
    extendedKeyUsage: parsed.getExtension(x509.ExtendedKeyUsageExtension)?.usages.map(String) ?? null,
    uris: urisOf(parsed, x509),
    subjectSerialNumber: parsed.subjectName.getField(SUBJECT_SERIAL_NUMBER)[0] ?? null,
    isSignedWithEcdsa: isSignedWithEcdsa(parsed),
  }
}

function checkExtensions(extensions: readonly X509.Extension[]): void {
  const seen = new Set<string>()
  for (const { type, critical } of extensions) {
    if (seen.has(type)) throw new MeshError('PEER_CERT_MALFORMED', `extension ${type} is there twice`)
    if (critical && !UNDERSTOOD.has(type))
      throw new MeshError('PEER_CERT_MALFORMED', `critical extension ${type} is not understood`)
    seen.add(type)
  }
}

function keyUsageOf(parsed: X509.X509Certificate, x509: typeof X509): KeyUsage | null {
  const extension = parsed.getExtension(x509.KeyUsagesExtension)
  if (extension === null) return null
  const { critical, usages } = extension
  const has = (flag: X509.KeyUsageFlags): boolean => (usages & flag) !== 0
  return {
    critical,
    digitalSignature: has(x509.KeyUsageFlags.digitalSignature),
    keyCertSign: has(x509.KeyUsageFlags.keyCertSign),
    crlSign: has(x509.KeyUsageFlags.cRLSign),
  }
}

function urisOf(parsed: X509.X509Certificate, x509: typeof X509): string[] {
  const extension = parsed.getExtension(x509.SubjectAlternativeNameExtension)
  return (extension?.names.items ?? []).filter(({ type }) => type === 'url').map(({ value }) => value)
}

function isSignedWithEcdsa(parsed: X509.X509Certificate): boolean {
  const { name, hash } = parsed.signatureAlgorithm as { name: string; hash?: { name: string } }
  return name === 'ECDSA' && HASHES.has(hash?.name ?? '')
}
