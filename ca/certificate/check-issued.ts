// Reads again what was just signed, with other code than wrote it, before it is recorded or handed out. A difference to what
// was meant is a bug in us or in a library: nothing leaves then.

import 'reflect-metadata'
import { createPublicKey, type X509Certificate } from 'node:crypto'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  X509Certificate as ParsedCertificate,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
} from '@peculiar/x509'
import { MeshError } from '../../mesh/errors.js'
import type { Profile } from './profile.js'

const LEAF_EXTENSIONS = ['2.5.29.14', '2.5.29.15', '2.5.29.17', '2.5.29.19', '2.5.29.35', '2.5.29.37']

/** What a leaf was meant to be. */
export interface Meant {
  readonly profile: Profile
  readonly spkiDer: Uint8Array
  readonly issuer: X509Certificate
}

/**
 * Checks a leaf against what was meant: names, issuer bytes, signature, serial, validity inside the issuer's, key, usages,
 * and that it has no extension besides.
 * @throws MeshError ISSUE_CHECK_FAILED naming the first difference
 */
export function checkIssued(leaf: X509Certificate, meant: Meant): void {
  const parsed = new ParsedCertificate(leaf.raw)
  const issuer = new ParsedCertificate(meant.issuer.raw)
  const checks: Record<string, boolean> = {
    'the signature': leaf.verify(
      createPublicKey(meant.issuer.publicKey.export({ format: 'pem', type: 'spki' })),
    ),
    'the issuer': sameBytes(parsed.issuerName.toArrayBuffer(), issuer.subjectName.toArrayBuffer()),
    'the serial': /^[4-7][0-9a-f]{31}$/.test(leaf.serialNumber.toLowerCase()),
    'the validity': validityHolds(parsed, issuer, meant.profile),
    'the key': Buffer.from(meant.spkiDer).equals(leaf.publicKey.export({ format: 'der', type: 'spki' })),
    'the subject': subjectOf(parsed) === meant.profile.subject.map(({ value }) => value).join('\n'),
    'the names': namesOf(parsed) === wantedNames(meant.profile),
    'the usages': usagesHold(parsed),
    'the key identifiers': keyIdOf(issuer) !== undefined && authorityKeyIdOf(parsed) === keyIdOf(issuer),
    'the extensions':
      parsed.extensions
        .map(({ type }) => type)
        .sort()
        .join() === LEAF_EXTENSIONS.join(),
  }
  for (const [what, holds] of Object.entries(checks)) {
    if (!holds)
      throw new MeshError('ISSUE_CHECK_FAILED', `${what} of the certificate just signed is not as meant`)
  }
}

function validityHolds(leaf: ParsedCertificate, issuer: ParsedCertificate, profile: Profile): boolean {
  return (
    leaf.notBefore.getTime() === profile.notBefore &&
    leaf.notAfter.getTime() === profile.notAfter &&
    leaf.notBefore >= issuer.notBefore &&
    leaf.notAfter <= issuer.notAfter &&
    leaf.notBefore < leaf.notAfter
  )
}

function usagesHold(leaf: ParsedCertificate): boolean {
  const constraints = leaf.getExtension(BasicConstraintsExtension)
  const usages = leaf.getExtension(KeyUsagesExtension)
  const extended = leaf.getExtension(ExtendedKeyUsageExtension)
  return (
    constraints?.critical === true &&
    !constraints.ca &&
    usages?.critical === true &&
    usages.usages === KeyUsageFlags.digitalSignature &&
    extended?.usages.map(String).sort().join() ===
      [ExtendedKeyUsage.clientAuth, ExtendedKeyUsage.serverAuth].map(String).sort().join()
  )
}

function subjectOf(leaf: ParsedCertificate): string {
  return leaf.subjectName
    .toJSON()
    .flatMap((names) => Object.values(names).flat())
    .join('\n')
}

/** The SAN as parsed, never as Node's text, which is ambiguous. */
function namesOf(leaf: ParsedCertificate): string | undefined {
  return leaf
    .getExtension(SubjectAlternativeNameExtension)
    ?.names.items.map(({ type, value }) => `${type}:${value}`)
    .join('\n')
}

const wantedNames = ({ uri, dns, ip }: Profile): string =>
  [`url:${uri}`, ...dns.map((name) => `dns:${name}`), ...ip.map((address) => `ip:${address}`)].join('\n')

const keyIdOf = (certificate: ParsedCertificate): string | undefined =>
  certificate.getExtension(SubjectKeyIdentifierExtension)?.keyId

const authorityKeyIdOf = (certificate: ParsedCertificate): string | undefined =>
  certificate.getExtension(AuthorityKeyIdentifierExtension)?.keyId

const sameBytes = (one: ArrayBuffer, other: ArrayBuffer): boolean =>
  Buffer.from(one).equals(Buffer.from(other))
