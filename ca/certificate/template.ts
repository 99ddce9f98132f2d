// Writes what is to be signed: the TBSCertificate of a profile (RFC 5280 §4.1). Every field comes from the profile, the issuer and
// the public key; it signs nothing. What is the same in all certificates of a usage is encoded once, when this file is loaded.

import { hash } from 'node:crypto'
import { isIP } from 'node:net'
import { readChildren, TAG } from '../../mesh/der.js'
import {
  ascii,
  bitString,
  boolean,
  explicit,
  implicit,
  integer,
  isPrintable,
  namedBits,
  octetString,
  oid,
  printableString,
  sequence,
  set,
  time,
  utf8String,
} from '../../mesh/der-writer.js'
import type { Profile } from './profile.js'

/** Who signs: what of it stands in what it signs. */
export interface Issuer {
  /** The Name, DER, byte for byte as in the issuer's own certificate: another spelling of it is another issuer to some verifiers. */
  readonly subjectDer: Buffer
  /** Its subject key identifier; null for a root, which is its own issuer. */
  readonly keyId: Buffer | null
}

export interface Template {
  readonly profile: Profile
  /** SubjectPublicKeyInfo, DER. */
  readonly spkiDer: Uint8Array
  readonly issuer: Issuer
  /** Octets, most significant first, positive. */
  readonly serial: Uint8Array
}

/** ecdsa-with-SHA256: no parameters (RFC 5758 §3.2). */
export const SIGNATURE_ALGORITHM = sequence(oid('1.2.840.10045.4.3.2'))

const VERSION_3 = explicit(0, integer(2))
const ATTRIBUTES = { CN: oid('2.5.4.3'), O: oid('2.5.4.10'), serialNumber: oid('2.5.4.5') } as const
const SUBJECT_KEY_ID = oid('2.5.29.14')
const SUBJECT_ALTERNATIVE_NAME = oid('2.5.29.17')
const AUTHORITY_KEY_ID = oid('2.5.29.35')

/** Numbers of the bits (RFC 5280 §4.2.1.3). */
const KEY_USAGE = { digitalSignature: 0, keyCertSign: 5, crlSign: 6 } as const

/** The numbers of GeneralName (RFC 5280 §4.2.1.6). */
const NAME = { dns: 2, uri: 6, ip: 7 } as const

/** cA is FALSE by default, and what is default is not encoded (X.690 §11.5). */
const LEAF_USAGES = [
  critical('2.5.29.19', sequence()),
  critical('2.5.29.15', namedBits(KEY_USAGE.digitalSignature)),
  extension(oid('2.5.29.37'), sequence(oid('1.3.6.1.5.5.7.3.2'), oid('1.3.6.1.5.5.7.3.1'))),
]
const USAGES: Readonly<Record<Profile['usage'], readonly Buffer[]>> = {
  leaf: LEAF_USAGES,
  issuing: authorityUsages(0),
  root: authorityUsages(1),
}

/** The TBSCertificate, DER. */
export function writeTemplate({ profile, spkiDer, issuer, serial }: Template): Buffer {
  return sequence(
    VERSION_3,
    integer(serial),
    SIGNATURE_ALGORITHM,
    issuer.subjectDer,
    sequence(time(profile.notBefore), time(profile.notAfter)),
    writeName(profile.subject),
    spkiDer,
    explicit(
      3,
      sequence(
        ...extensionsOf(profile.usage, profile, spkiDer),
        ...(issuer.keyId === null ? [] : [extension(AUTHORITY_KEY_ID, sequence(implicit(0, issuer.keyId)))]),
      ),
    ),
  )
}

/** The extensions that a leaf with these names and this key has whoever signs it, DER each. */
export const writeLeafExtensions = (
  names: Pick<Profile, 'uri' | 'dns' | 'ip'>,
  spkiDer: Uint8Array,
): readonly Buffer[] => extensionsOf('leaf', names, spkiDer)

/** A certificate, DER, from what was signed and its signature. */
export const writeCertificate = (tbs: Uint8Array, signature: Uint8Array): Buffer =>
  sequence(tbs, SIGNATURE_ALGORITHM, bitString(signature))

/** A Name, DER; PrintableString where the value allows it, else UTF8String (RFC 5280 §4.1.2.4). */
export function writeName(subject: Profile['subject']): Buffer {
  return sequence(
    ...subject.map(({ attribute, value }) =>
      set(sequence(ATTRIBUTES[attribute], isPrintable(value) ? printableString(value) : utf8String(value))),
    ),
  )
}

/**
 * SHA-1 of the bits of the public key: a name for it, not a protection (RFC 5280 §4.2.1.2, method 1).
 * @param spkiDer an SPKI as OpenSSL writes it
 */
export function keyIdOf(spkiDer: Uint8Array): Buffer {
  return hash('sha1', publicKeyBits(Buffer.from(spkiDer)), 'buffer')
}

function extensionsOf(
  usage: Profile['usage'],
  names: Pick<Profile, 'uri' | 'dns' | 'ip'>,
  spkiDer: Uint8Array,
): Buffer[] {
  return [...USAGES[usage], alternativeNames(names), extension(SUBJECT_KEY_ID, octetString(keyIdOf(spkiDer)))]
}

function authorityUsages(pathLength: number): Buffer[] {
  return [
    critical('2.5.29.19', sequence(boolean(true), integer(pathLength))),
    critical('2.5.29.15', namedBits(KEY_USAGE.keyCertSign, KEY_USAGE.crlSign)),
  ]
}

/** Not critical: every certificate has a subject (RFC 5280 §4.2.1.6). */
function alternativeNames({ uri, dns, ip }: Pick<Profile, 'uri' | 'dns' | 'ip'>): Buffer {
  return extension(
    SUBJECT_ALTERNATIVE_NAME,
    sequence(
      implicit(NAME.uri, ascii(uri)),
      ...dns.map((name) => implicit(NAME.dns, ascii(name))),
      ...ip.map((address) => implicit(NAME.ip, addressOctets(address))),
    ),
  )
}

function critical(id: string, value: Buffer): Buffer {
  return sequence(oid(id), boolean(true), octetString(value))
}

/** `critical` is FALSE by default, so it is left out. */
function extension(id: Buffer, value: Buffer): Buffer {
  return sequence(id, octetString(value))
}

/** 4 or 16 octets. */
function addressOctets(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split('.').map(Number))
  if (isIP(address) !== 6 || address.includes('%')) throw new RangeError('not an address')
  const [head = '', tail] = address.replace(/[0-9.]+\.[0-9]+$/, groupsOfIpv4).split('::')
  const [before, after] = [groupsOf(head), groupsOf(tail ?? '')]
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => 0)
  return Buffer.from([...before, ...zeros, ...after].flatMap((group) => [group >> 8, group & 0xff]))
}

const groupsOf = (text: string): number[] =>
  text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16))

/** The last 32 bits of an IPv6 address may be written as IPv4 (RFC 4291 §2.2). */
function groupsOfIpv4(dotted: string): string {
  const hex = Buffer.from(dotted.split('.').map(Number)).toString('hex')
  return `${hex.slice(0, 4)}:${hex.slice(4)}`
}

/** The content of the BIT STRING, without its octet of unused bits. */
function publicKeyBits(spkiDer: Buffer): Buffer {
  const [, bits] = readChildren(spkiDer, TAG.sequence, [TAG.sequence, TAG.bitString])
  return bits.content.subarray(1)
}
