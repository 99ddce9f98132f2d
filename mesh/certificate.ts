// What one certificate says, read strictly from its DER. It refuses what two readers could read differently (doubled extensions, unknown
// critical ones) and judges nothing else (RFC 5280 §4.2).

import type { X509Certificate } from 'node:crypto'
import { MeshError } from './errors.js'
import { readFully } from './full-certificate.js'
import { readPlain } from './plain-certificate.js'

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
