// Certificate requests built by hand, byte by byte, right or wrong in any way: the corpus in test/vectors/csrs.json and the
// property tests come from here. `UPDATE_VECTORS=1 npx vitest run test/unit/ca/certificate/csr-corpus.test.ts` writes it anew.

import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { memberNames } from '../../ca/certificate/profile.js'
import { writeLeafExtensions } from '../../ca/certificate/template.js'
import * as der from '../../mesh/der-writer.js'
import { parseSpiffeId } from '../../mesh/spiffe-id.js'
import { pemOf } from './hostile-csr.js'

export const OWNER = parseSpiffeId('spiffe://acme.internal/agent/planner')

export interface Vector {
  readonly name: string
  /** Whose request it is taken for, which decides what it may be. */
  readonly as: 'member' | 'foreign' | 'foreign, Ed25519 opted in'
  /** A code, or `accepted`. */
  readonly expected: string
  readonly pem: string
}

export interface Pair {
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
}

interface Parts {
  readonly pair: Pair
  readonly spki: Buffer
  readonly version: Buffer
  readonly subject: Buffer
  /** What stands after the key. */
  readonly tail: Buffer
  readonly algorithm: Buffer
  readonly hash: string | null
  /** Made of the signature's octets. */
  readonly bits: (signature: Buffer) => Buffer
}

const ECDSA = { sha1: '1.2.840.10045.4.1', sha256: '1.2.840.10045.4.3.2', sha384: '1.2.840.10045.4.3.3' }
const RSA_SHA256 = der.sequence(der.oid('1.2.840.113549.1.1.11'), der.nul())
const ED25519 = der.sequence(der.oid('1.3.101.112'))
const spkiOf = ({ publicKey }: Pair): Buffer => publicKey.export({ format: 'der', type: 'spki' })
export const attributesOf = (...attributes: Buffer[]): Buffer => der.explicit(0, ...attributes)

/** A request, DER: right unless told otherwise. */
export function buildCsr(pair: Pair, changes: Partial<Parts> = {}): Buffer {
  const kind = pair.publicKey.asymmetricKeyType
  const usual =
    kind === 'rsa' ? RSA_SHA256 : kind === 'ed25519' ? ED25519 : der.sequence(der.oid(ECDSA.sha256))
  const { spki, version, subject, tail, algorithm, hash, bits } = {
    spki: spkiOf(pair),
    version: der.integer(0),
    subject: nameOf('planner'),
    tail: attributesOf(),
    algorithm: usual,
    hash: kind === 'ed25519' || kind === 'ed448' ? null : 'sha256',
    bits: der.bitString,
    ...changes,
  }
  const info = der.sequence(version, subject, spki, tail)
  return der.sequence(info, algorithm, bits(sign(hash, info, pair.privateKey)))
}

export const nameOf = (value: string): Buffer =>
  der.sequence(der.set(der.sequence(der.oid('2.5.4.3'), der.utf8String(value))))

export const attribute = (id: string, ...values: Buffer[]): Buffer =>
  der.sequence(der.oid(id), der.set(...values))
export const extensionRequest = (...extensions: Buffer[]): Buffer =>
  attribute('1.2.840.113549.1.9.14', der.sequence(...extensions))
export const extension = (id: string, value: Buffer, critical = false): Buffer =>
  der.sequence(der.oid(id), ...(critical ? [der.boolean(true)] : []), der.octetString(value))
const uri = (text: string): Buffer => der.implicit(6, Buffer.from(text))
const dns = (text: string): Buffer => der.implicit(2, Buffer.from(text))
const san = (...names: Buffer[]): Buffer => extension('2.5.29.17', der.sequence(...names))
const asking = (pair: Pair, ...extensions: Buffer[]): Buffer =>
  buildCsr(pair, { tail: attributesOf(extensionRequest(...extensions)) })

const ec = (namedCurve: string): Pair => generateKeyPairSync('ec', { namedCurve })
const rsa = (modulusLength: number, publicExponent = 65_537): Pair =>
  generateKeyPairSync('rsa', { modulusLength, publicExponent })

/** The request with one octet after `from` bytes of it replaced. */
function spoilt(request: Buffer, at: number, value: number): Buffer {
  const copy = Buffer.from(request)
  copy[at < 0 ? copy.length + at : at] = value
  return copy
}

const EC_ALGORITHM = der.sequence(der.oid('1.2.840.10045.2.1'), der.oid('1.2.840.10045.3.1.7'))
const point = (pair: Pair): Buffer => spkiOf(pair).subarray(-65)
const ecSpki = (octets: Uint8Array): Buffer => der.sequence(EC_ALGORITHM, der.bitString(octets))
const rsaSpki = (modulus: Buffer, exponent: Buffer, algorithm: Buffer): Buffer =>
  der.sequence(algorithm, der.bitString(der.sequence(modulus, exponent)))
const RSA_KEY = der.sequence(der.oid('1.2.840.113549.1.1.1'), der.nul())

type Row = readonly [name: string, expected: string, request: Buffer, as?: Vector['as']]

/** Made anew at each call: signatures have randomness in them. */
export function makeVectors(): Vector[] {
  const pair = ec('P-256')
  const rows: Row[] = [...accepted(pair), ...malformed(pair), ...wrongKeys(pair), ...askingForMore(pair)]
  const good = pemOf(buildCsr(pair))
  const texts: readonly (readonly [string, string])[] = [
    ['two requests', good + good],
    ['text before it', `hello\n${good}`],
    ['another label', pemOf(buildCsr(pair), 'NEW CERTIFICATE REQUEST')],
    ['headers inside', good.replace('-----\n', '-----\nProc-Type: 4,ENCRYPTED\n\n')],
    ['base64 with a space', good.replace('\nMI', '\n MI')],
    ['no text', ''],
  ]
  return [
    ...rows.map(([name, expected, request, as = 'member']) => ({ name, as, expected, pem: pemOf(request) })),
    ...texts.map(([name, pem]) => ({ name, as: 'member' as const, expected: 'CSR_INVALID', pem })),
  ]
}

function accepted(pair: Pair): Row[] {
  const names = memberNames(OWNER)
  const own = writeLeafExtensions(names, spkiOf(pair))
  const sha384 = { algorithm: der.sequence(der.oid(ECDSA.sha384)), hash: 'sha384' }
  return [
    ['P-256', 'accepted', buildCsr(pair)],
    ['P-256 signed with SHA-384', 'accepted', buildCsr(pair, sha384)],
    ['P-384', 'accepted', buildCsr(ec('P-384'))],
    ['without a subject', 'accepted', buildCsr(pair, { subject: der.sequence() })],
    [
      'a subject of another agent, which nobody reads',
      'accepted',
      buildCsr(pair, { subject: nameOf('admin') }),
    ],
    ['RSA of 2048 bits', 'accepted', buildCsr(rsa(2048)), 'foreign'],
    ['RSA of 4096 bits', 'accepted', buildCsr(rsa(4096)), 'foreign'],
    ['Ed25519', 'accepted', buildCsr(generateKeyPairSync('ed25519')), 'foreign, Ed25519 opted in'],
    ['every extension that the leaf gets', 'accepted', asking(pair, ...own), 'foreign'],
    ['its URI alone', 'accepted', asking(pair, san(uri(OWNER))), 'foreign'],
    ['its DNS name alone', 'accepted', asking(pair, san(dns('planner.mesh'))), 'foreign'],
    ['its names in another order', 'accepted', asking(pair, san(dns('planner.mesh'), uri(OWNER))), 'foreign'],
  ]
}

function malformed(pair: Pair): Row[] {
  const right = buildCsr(pair)
  const other = ec('P-256')
  const changed = Buffer.from(right)
  changed.write('p1anner', changed.indexOf('planner'))
  const inner = right.subarray((right[1] ?? 0) < 0x80 ? 2 : 3)
  const built = (changes: Partial<Parts>): Buffer => buildCsr(pair, changes)
  const nameOfSize = (size: number): Buffer => nameOf('a'.repeat(size))
  return [
    ['signed by another key', built({ spki: spkiOf(other) })],
    ['subject changed after signing', changed],
    ['last bit of the signature changed', spoilt(right, -1, (right.at(-1) ?? 0) ^ 1)],
    ['no signature', built({ bits: () => der.bitString(Buffer.alloc(0)) })],
    ['a signature of odd bits', built({ bits: (octets) => spoilt(der.bitString(octets), 2, 1) })],
    [
      'a signature with a rest',
      built({ bits: (octets) => der.bitString(Buffer.concat([octets, Buffer.of(0)])) }),
    ],
    ['SHA-1', built({ algorithm: der.sequence(der.oid(ECDSA.sha1)), hash: 'sha1' })],
    ['ECDSA with parameters', built({ algorithm: der.sequence(der.oid(ECDSA.sha256), der.nul()) })],
    ['the algorithm of another key', built({ algorithm: RSA_SHA256 })],
    ['another hash than it says', built({ hash: 'sha384' })],
    ['version 2', built({ version: der.integer(1) })],
    ['no attributes at all', built({ tail: Buffer.alloc(0) })],
    ['attributes under another tag', built({ tail: der.explicit(1) })],
    ['something after the attributes', built({ tail: Buffer.concat([attributesOf(), der.nul()]) })],
    ['a subject that is no DER', built({ subject: der.sequence(Buffer.of(0x31, 0x80)) })],
    ['a tag of several octets', built({ subject: der.sequence(Buffer.of(0x1f, 0x81, 0x00, 0x00)) })],
    ['indefinite length', Buffer.concat([Buffer.of(0x30, 0x80), inner, Buffer.of(0, 0)])],
    ['a longer length than needed', Buffer.concat([Buffer.of(0x30, 0x82, 0x00, inner.length), inner])],
    ['bytes after it', Buffer.concat([right, Buffer.of(0)])],
    ['cut short', right.subarray(0, -1)],
    ['larger than any request', built({ subject: nameOfSize(13_000) })],
    ['nothing but a sequence', der.sequence()],
    [
      'sequences a thousand deep',
      Array.from({ length: 1000 }).reduce<Buffer>((all) => der.sequence(all), der.nul()),
    ],
  ].map(([name, request]) => [name as string, 'CSR_INVALID', request as Buffer] as const)
}

function wrongKeys(pair: Pair): Row[] {
  const [compressed, hybrid] = [point(pair), Buffer.from(point(pair))]
  const parity = (compressed.at(-1) ?? 0) & 1
  hybrid[0] = 6 + parity
  const big = rsa(2048)
  const { n = '' } = big.publicKey.export({ format: 'jwk' })
  const [modulus, f4] = [Buffer.from(n, 'base64url'), der.integer(65_537)]
  const even = Buffer.from(modulus)
  even[255] = (even[255] ?? 0) & 0xfe
  const lowOrder = der.sequence(ED25519, der.bitString(Buffer.concat([Buffer.of(1), Buffer.alloc(31)])))
  // R is the neutral element and S is 0: right for every message under the key above
  const forged = (): Buffer => der.bitString(Buffer.concat([Buffer.of(1), Buffer.alloc(63)]))
  const explicitCurve = generateKeyPairSync('ec', { namedCurve: 'P-256', paramEncoding: 'explicit' })
  const withSpki = (spki: Buffer): Buffer => buildCsr(pair, { spki })
  const rsaWith = (spki: Buffer): Buffer => buildCsr(big, { spki })
  const paddedModulus = Buffer.concat([Buffer.of(0x02, 0x82, 0x01, 0x02, 0, 0), modulus])
  const members: (readonly [string, Buffer])[] = [
    ['RSA of a sidecar', buildCsr(big)],
    ['P-521', buildCsr(ec('P-521'))],
    ['secp256k1', buildCsr(ec('secp256k1'))],
    [
      'a compressed point',
      withSpki(ecSpki(Buffer.concat([Buffer.of(2 + parity), compressed.subarray(1, 33)]))),
    ],
    ['a hybrid point', withSpki(ecSpki(hybrid))],
    ['the point at infinity', withSpki(ecSpki(Buffer.of(0)))],
    ['a point that is not on the curve', withSpki(spoilt(spkiOf(pair), -1, (spkiOf(pair).at(-1) ?? 0) ^ 1))],
    ['a curve spelled out', buildCsr(explicitCurve)],
    [
      'a curve without a name',
      withSpki(der.sequence(der.sequence(der.oid('1.2.840.10045.2.1')), der.bitString(point(pair)))),
    ],
    ['Ed448', buildCsr(generateKeyPairSync('ed448'))],
  ]
  const foreigners: (readonly [string, Buffer, Vector['as']?])[] = [
    ['RSA of 1024 bits', buildCsr(rsa(1024))],
    ['RSA of 2047 bits', buildCsr(rsa(2047))],
    ['RSA of 4104 bits', rsaWith(rsaSpki(der.integer(Buffer.alloc(513, 0xff)), f4, RSA_KEY))],
    ['RSA of exponent 3', buildCsr(rsa(2048, 3))],
    ['RSA of an even modulus', rsaWith(rsaSpki(der.integer(even), f4, RSA_KEY))],
    ['RSA with a modulus that is not the shortest', rsaWith(rsaSpki(paddedModulus, f4, RSA_KEY))],
    [
      'RSA without NULL',
      rsaWith(rsaSpki(der.integer(modulus), f4, der.sequence(der.oid('1.2.840.113549.1.1.1')))),
    ],
    [
      'RSA that is for PSS alone',
      rsaWith(rsaSpki(der.integer(modulus), f4, der.sequence(der.oid('1.2.840.113549.1.1.10')))),
    ],
    ['Ed25519 that nobody opted for', buildCsr(generateKeyPairSync('ed25519'))],
    [
      'Ed25519 of small order, signed without a private key',
      buildCsr(generateKeyPairSync('ed25519'), { spki: lowOrder, bits: forged }),
      'foreign, Ed25519 opted in',
    ],
  ]
  return [
    ...members.map(([name, request]) => [name, 'CSR_KEY_UNSUPPORTED', request] as const),
    ...foreigners.map(
      ([name, request, as = 'foreign']) => [name, 'CSR_KEY_UNSUPPORTED', request, as] as const,
    ),
  ]
}

function askingForMore(pair: Pair): Row[] {
  const own = san(uri(OWNER), dns('planner.mesh'))
  const challenge = attribute('1.2.840.113549.1.9.7', der.printableString('let me in'))
  const ask = (...extensions: Buffer[]): Buffer => asking(pair, ...extensions)
  const tail = (...attributes: Buffer[]): Buffer => buildCsr(pair, { tail: attributesOf(...attributes) })
  const basic = (...parts: Buffer[]): Buffer => extension('2.5.29.19', der.sequence(...parts), true)
  const foreigners: (readonly [string, Buffer])[] = [
    ['a challenge password', tail(challenge)],
    ['a challenge password after what it gets', tail(extensionRequest(own), challenge)],
    ['an unstructured name', tail(attribute('1.2.840.113549.1.9.2', der.utf8String('admin')))],
    ['an attribute that nobody knows', tail(attribute('1.3.6.1.4.1.99999.7', der.nul()))],
    ['Microsoft’s extension request', tail(attribute('1.3.6.1.4.1.311.2.1.14', der.sequence(own)))],
    ['two extension requests', tail(extensionRequest(own), extensionRequest(own))],
    ['no extension', tail(extensionRequest())],
    ['the same extension twice', ask(own, own)],
    ['two URI names', ask(san(uri(OWNER), uri('spiffe://acme.internal/agent/admin')))],
    ['its own URI twice', ask(san(uri(OWNER), uri(OWNER)))],
    ['another agent’s URI', ask(san(uri('spiffe://acme.internal/agent/admin')))],
    ['the CA’s URI', ask(san(uri('spiffe://acme.internal/ca')))],
    ['another DNS name beside its own', ask(san(uri(OWNER), dns('planner.mesh'), dns('admin.mesh')))],
    ['a wildcard', ask(san(dns('*.mesh')))],
    ['localhost', ask(san(dns('localhost')))],
    ['an address', ask(san(der.implicit(7, Buffer.from([127, 0, 0, 1]))))],
    ['an e-mail address', ask(san(der.implicit(1, Buffer.from('root@acme.internal'))))],
    ['no names', ask(san())],
    ['its names, critical', ask(extension('2.5.29.17', der.sequence(uri(OWNER)), true))],
    ['CA:TRUE', ask(basic(der.boolean(true)))],
    ['CA:TRUE with a path length', ask(basic(der.boolean(true), der.integer(3)))],
    ['CA:FALSE, spelled out', ask(basic(der.boolean(false)))],
    ['the usage of a CA', ask(extension('2.5.29.15', der.namedBits(0, 5, 6), true))],
    ['code signing', ask(extension('2.5.29.37', der.sequence(der.oid('1.3.6.1.5.5.7.3.3'))))],
    ['another subject key identifier', ask(extension('2.5.29.14', der.octetString(Buffer.alloc(20))))],
    ['name constraints', ask(extension('2.5.29.30', der.sequence(), true))],
    ['an extension that nobody knows', ask(extension('1.3.6.1.4.1.99999.1', der.nul()))],
  ]
  return [
    ...foreigners.map(([name, request]) => [name, 'CSR_NOT_ALLOWED', request, 'foreign'] as const),
    ['a sidecar that asks for its own names', 'CSR_NOT_ALLOWED', ask(own)],
    ['attributes that are none', 'CSR_INVALID', tail(der.nul()), 'foreign'],
    ['an extension that is none', 'CSR_INVALID', ask(der.nul()), 'foreign'],
    ['a criticality that is FALSE', 'CSR_NOT_ALLOWED', ask(falsely()), 'foreign'],
  ]
}

/** What is default is not encoded (X.690 §11.5): two encodings of one extension. */
const falsely = (): Buffer =>
  der.sequence(der.oid('2.5.29.17'), der.boolean(false), der.octetString(der.sequence(uri(OWNER))))
