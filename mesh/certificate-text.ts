// Certificates and revocation lists decoded for people: every field and extension, as text. Nothing is judged or decided by it, and
// nothing parses it again.

import 'reflect-metadata'
import type { X509Certificate } from 'node:crypto'
import * as x509 from '@peculiar/x509'
import { MeshError } from './errors.js'

/** @returns lines, indented; @throws MeshError PEER_CERT_MALFORMED */
export function certificateText(certificate: X509Certificate): string[] {
  return decoded(() => new x509.X509Certificate(certificate.raw).toString('text'))
}

/** @returns lines, indented; @throws MeshError PEER_CERT_MALFORMED */
export function crlText(der: Uint8Array): string[] {
  return decoded(() => {
    const crl = new x509.X509Crl(new Uint8Array(der))
    const lines = crl.entries.flatMap(({ serialNumber, revocationDate, reason }) => [
      `    Serial Number: ${serialNumber}`,
      `      Revocation Date: ${revocationDate.toISOString()}`,
      ...(reason === undefined ? [] : [`      Reason: ${x509.X509CrlReason[reason]}`]),
    ])
    return [
      'Certificate Revocation List:',
      `  Issuer: ${crl.issuer}`,
      `  This Update: ${crl.thisUpdate.toISOString()}`,
      `  Next Update: ${crl.nextUpdate?.toISOString() ?? 'none'}`,
      `  CRL Number: ${numberOf(crl)}`,
      `  Authority Key Identifier: ${keyIdOf(crl)}`,
      ...(lines.length === 0 ? ['  No Revoked Certificates'] : ['  Revoked Certificates:', ...lines]),
    ].join('\n')
  })
}

const CRL_NUMBER = '2.5.29.20'

/** The content of an INTEGER. */
function numberOf(crl: x509.X509Crl): string {
  const value = crl.extensions.find(({ type }) => type === CRL_NUMBER)?.value
  return value === undefined
    ? 'none'
    : BigInt(`0x${Buffer.from(value).subarray(2).toString('hex')}`).toString()
}

const keyIdOf = (crl: x509.X509Crl): string =>
  crl.getExtension(x509.AuthorityKeyIdentifierExtension)?.keyId ?? 'none'

function decoded(text: () => string): string[] {
  try {
    return text().trimEnd().split('\n')
  } catch (error) {
    throw new MeshError('PEER_CERT_MALFORMED', 'it cannot be decoded', { cause: error })
  }
}
