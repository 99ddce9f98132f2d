// Public keys that the CA signs, read strictly from a SubjectPublicKeyInfo: known kinds only, each in its one canonical encoding, so that
// a key has one hash. ECDSA P-256 and P-384 (RFC 5480), RSA (RFC 8017, A.1), Ed25519 (RFC 8410).

import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import { readChildren, TAG } from '../../mesh/der.js'
import { MeshError } from '../../mesh/errors.js'

export type KeyKind = 'P-256' | 'P-384' | 'RSA' | 'Ed25519'

export interface PublicKey {
  readonly kind: KeyKind
  readonly key: KeyObject
}

/** Larger keys cost every verifier more than they protect. */
const RSA_BITS = { least: 2048, most: 4096 } as const
/** 65537, content octets: every other exponent is old, weak or costly. */
const RSA_EXPONENT = '010001'
const RSA_ALGORITHM = '300d06092a864886f70d0101010500'

/** All of an SPKI before the octets of the key: named curve and uncompressed point for ECDSA. */
const FIXED = [
  { kind: 'P-256', prefix: '3059301306072a8648ce3d020106082a8648ce3d03010703420004', bytes: 64 },
  { kind: 'P-384', prefix: '3076301006072a8648ce3d020106052b8104002203620004', bytes: 96 },
  { kind: 'Ed25519', prefix: '302a300506032b6570032100', bytes: 32 },
] as const
const PREFIXES = FIXED.map(({ kind, prefix, bytes }) => ({ kind, prefix: Buffer.from(prefix, 'hex'), bytes }))

/**
 * The key of an SPKI. It is put together anew from its numbers, so a point that is not on its curve is refused, and nothing else
 * that OpenSSL would read (compressed points, curves spelled out) is taken for it.
 * @throws MeshError CSR_KEY_UNSUPPORTED; NotDer
 */
export function readPublicKey(spki: Buffer): PublicKey {
  for (const { kind, prefix, bytes } of PREFIXES) {
    if (spki.length === prefix.length + bytes && spki.subarray(0, prefix.length).equals(prefix))
      return { kind, key: importKey(fixedJwk(kind, spki.subarray(prefix.length))) }
  }
  const [algorithm, bits] = readChildren(spki, TAG.sequence, [TAG.sequence, TAG.bitString])
  if (algorithm.raw.toString('hex') !== RSA_ALGORITHM || bits.content[0] !== 0)
    throw unsupported('its key is of no kind that is certified here')
  return { kind: 'RSA', key: importKey(rsaJwk(bits.content.subarray(1))) }
}

function fixedJwk(kind: 'P-256' | 'P-384' | 'Ed25519', octets: Buffer): JsonWebKey {
  if (kind === 'Ed25519') {
    if (!isSafePoint(octets)) throw unsupported('its Ed25519 key is one that anybody could sign for')
    return { kty: 'OKP', crv: kind, x: octets.toString('base64url') }
  }
  const half = octets.length / 2
  return {
    kty: 'EC',
    crv: kind,
    x: octets.toString('base64url', 0, half),
    y: octets.toString('base64url', half),
  }
}

function rsaJwk(der: Buffer): JsonWebKey {
  const [modulus, exponent] = readChildren(der, TAG.sequence, [TAG.integer, TAG.integer])
  const first = modulus.content[0] ?? 0
  const octets = first === 0 ? modulus.content.subarray(1) : modulus.content
  const isCanonical = first < 0x80 && (octets[0] ?? 0) >= (first === 0 ? 0x80 : 1)
  const bits = octets.length * 8 - Math.clz32((octets[0] ?? 0) << 24)
  const isOdd = ((octets.at(-1) ?? 0) & 1) === 1
  if (!isCanonical || !isOdd || exponent.content.toString('hex') !== RSA_EXPONENT)
    throw unsupported('its RSA key is malformed, or its exponent is not 65537')
  if (bits < RSA_BITS.least || bits > RSA_BITS.most)
    throw unsupported(
      `its RSA key has ${bits} bits; from ${RSA_BITS.least} to ${RSA_BITS.most} are certified`,
    )
  return { kty: 'RSA', n: octets.toString('base64url'), e: 'AQAB' }
}

const ED25519_PRIME = 2n ** 255n - 19n

/**
 * The y of the points of order 1, 2, 4 and 8: a signature "by" such a key is made without any private key, and would prove
 * nothing (RFC 8032 §8; the same list as libsodium's).
 */
const SMALL_ORDER = new Set([
  0n,
  1n,
  ED25519_PRIME - 1n,
  0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n,
  0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n,
])

function isSafePoint(octets: Buffer): boolean {
  const y = BigInt(`0x${Buffer.from(octets).reverse().toString('hex')}`) & (2n ** 255n - 1n)
  return y < ED25519_PRIME && !SMALL_ORDER.has(y)
}

function importKey(key: JsonWebKey): KeyObject {
  try {
    return createPublicKey({ key, format: 'jwk' })
  } catch (error) {
    throw unsupported('its key cannot be read', error)
  }
}

const unsupported = (why: string, cause?: unknown): MeshError =>
  new MeshError('CSR_KEY_UNSUPPORTED', `certificate request: ${why}`, { cause })

/** For messages: `ECDSA P-256, ECDSA P-384 or RSA`. */
export function formatKeyKinds(kinds: readonly KeyKind[]): string {
  const names = kinds.map((kind) => (kind.startsWith('P-') ? `ECDSA ${kind}` : kind))
  return [names.slice(0, -1).join(', '), ...names.slice(-1)].filter((part) => part !== '').join(' or ')
}
