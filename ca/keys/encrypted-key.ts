// A private key at rest: PKCS#8 EncryptedPrivateKeyInfo (RFC 5958 §3) with PBES2 (RFC 8018 §6.2), scrypt (RFC 7914 §7) and
// AES-256-CBC, as PEM that openssl opens too. What is read from disk says how much work it costs: nothing outside the bounds
// below is ever computed, so a tampered file can neither eat the memory nor the time of the host.

import { createCipheriv, createDecipheriv, pbkdf2, randomBytes, scrypt } from 'node:crypto'
import { promisify } from 'node:util'
import { type Element, NotDer, readChildren, readElements, TAG } from '../../mesh/der.js'
import { integer, octetString, oid, sequence } from '../../mesh/der-writer.js'
import { MeshError } from '../../mesh/errors.js'
import { formatPem } from '../../mesh/pem.js'

/**
 * 16 MiB and about 0.2 s on one core. OpenSSL refuses PKCS#8 files that need more than 32 MiB, so the work above N = 2^14 comes
 * from p: five passes cost an attacker what N = 2^17, p = 1 would (OWASP Password Storage).
 */
export const SCRYPT = { N: 2 ** 14, r: 8, p: 5 } as const

/** For a dev home: its passphrase lies beside the key, so work would only cost its own starts. */
export const SCRYPT_DEV = { N: 2 ** 10, r: 8, p: 1 } as const

export type ScryptCost = typeof SCRYPT | typeof SCRYPT_DEV

const SCRYPT_MAX = { N: 2 ** 14, r: 8, p: 16 } as const
const SCRYPT_MAX_BYTES = 32 * 1024 * 1024
const PBKDF2_ITERATIONS = { min: 1000, max: 2_000_000 } as const
const SALT_BYTES = 16
const SALT_MAX_BYTES = 64
const KEY_BYTES = 32
const IV_BYTES = 16
/** A P-256 key takes some 240 bytes. */
const PEM_MAX_CHARS = 8192
const CIPHER = 'aes-256-cbc'

const OID = {
  pbes2: oid('1.2.840.113549.1.5.13'),
  pbkdf2: oid('1.2.840.113549.1.5.12'),
  scrypt: oid('1.3.6.1.4.1.11591.4.11'),
  hmacSha256: oid('1.2.840.113549.2.9'),
  aes256Cbc: oid('2.16.840.1.101.3.4.1.42'),
} as const

const OCTETS = 0x04

const deriveScrypt = promisify<string, Buffer, number, object, Buffer>(scrypt)
const derivePbkdf2 = promisify(pbkdf2)

/** @returns PEM, `ENCRYPTED PRIVATE KEY` */
export async function encryptKey(pkcs8Der: Buffer, passphrase: string, cost: ScryptCost): Promise<string> {
  const salt = randomBytes(SALT_BYTES)
  const iv = randomBytes(IV_BYTES)
  const key = await deriveScrypt(passphrase, salt, KEY_BYTES, { ...cost, maxmem: SCRYPT_MAX_BYTES })
  const cipher = createCipheriv(CIPHER, key, iv)
  const encrypted = Buffer.concat([cipher.update(pkcs8Der), cipher.final()])
  const kdf = sequence(
    OID.scrypt,
    sequence(octetString(salt), integer(cost.N), integer(cost.r), integer(cost.p)),
  )
  const scheme = sequence(OID.pbes2, sequence(kdf, sequence(OID.aes256Cbc, octetString(iv))))
  return formatPem('ENCRYPTED PRIVATE KEY', sequence(scheme, octetString(encrypted)))
}

const PEM =
  /^-----BEGIN ENCRYPTED PRIVATE KEY-----\n([A-Za-z0-9+/=\n]+)-----END ENCRYPTED PRIVATE KEY-----\n$/

/**
 * @param file names it in errors
 * @returns PKCS#8 DER as it came out, which only a parser can tell from noise, and how its key was derived
 * @throws MeshError STATE_UNREADABLE when it is not such a key or wants more work than any of ours; PASSPHRASE_WRONG
 */
export async function decryptKey(
  pem: string,
  passphrase: string,
  file: string,
): Promise<{ pkcs8Der: Buffer; kdf: 'scrypt' | 'pbkdf2' }> {
  const { kdf, iv, encrypted } = read(pem, file)
  const key = await derive(kdf, passphrase)
  const decipher = createDecipheriv(CIPHER, key, iv)
  try {
    const pkcs8Der = Buffer.concat([decipher.update(encrypted), decipher.final()])
    return { pkcs8Der, kdf: kdf.name }
  } catch (error) {
    throw new MeshError('PASSPHRASE_WRONG', `the passphrase does not open ${file}`, { cause: error })
  }
}

type Kdf =
  | {
      readonly name: 'scrypt'
      readonly salt: Buffer
      readonly N: number
      readonly r: number
      readonly p: number
    }
  | { readonly name: 'pbkdf2'; readonly salt: Buffer; readonly iterations: number }

function derive(kdf: Kdf, passphrase: string): Promise<Buffer> {
  if (kdf.name === 'pbkdf2') return derivePbkdf2(passphrase, kdf.salt, kdf.iterations, KEY_BYTES, 'sha256')
  const { salt, N, r, p } = kdf
  return deriveScrypt(passphrase, salt, KEY_BYTES, { N, r, p, maxmem: SCRYPT_MAX_BYTES })
}

function read(pem: string, file: string): { kdf: Kdf; iv: Buffer; encrypted: Buffer } {
  const body = pem.length <= PEM_MAX_CHARS ? PEM.exec(pem)?.[1] : undefined
  if (body === undefined) throw new MeshError('STATE_UNREADABLE', `${file} is not an encrypted private key`)
  try {
    const [scheme, encrypted] = readChildren(Buffer.from(body, 'base64'), TAG.sequence, [
      TAG.sequence,
      OCTETS,
    ])
    const [pbes2, parameters] = readChildren(scheme.raw, TAG.sequence, [TAG.oid, TAG.sequence])
    demand(pbes2, OID.pbes2)
    const [derivation, cipher] = readChildren(parameters.raw, TAG.sequence, [TAG.sequence, TAG.sequence])
    const [cipherOid, iv] = readChildren(cipher.raw, TAG.sequence, [TAG.oid, OCTETS])
    demand(cipherOid, OID.aes256Cbc)
    if (iv.content.length !== IV_BYTES) throw new NotDer('another initialisation vector')
    return { kdf: readKdf(derivation), iv: iv.content, encrypted: encrypted.content }
  } catch (error) {
    if (!(error instanceof NotDer)) throw error
    throw new MeshError('STATE_UNREADABLE', `${file} is not encrypted the way CA keys are`, { cause: error })
  }
}

function readKdf(derivation: Element): Kdf {
  const [name, parameters] = readChildren(derivation.raw, TAG.sequence, [TAG.oid, TAG.sequence])
  if (name.raw.equals(OID.pbkdf2)) return readPbkdf2(parameters)
  demand(name, OID.scrypt)
  // RFC 7914 §7.1: the key length at the end is optional
  const fields = readElements(parameters.content)
  const [salt, N, r, p] = fields.length === 5 ? withKeyLength(fields) : fields
  const kdf = { name: 'scrypt', salt: saltOf(salt), N: numberOf(N), r: numberOf(r), p: numberOf(p) } as const
  const isBounded = kdf.N <= SCRYPT_MAX.N && kdf.r <= SCRYPT_MAX.r && kdf.p <= SCRYPT_MAX.p
  if (fields.length < 4 || fields.length > 5 || !isBounded || kdf.r < 1 || kdf.p < 1 || !isPowerOfTwo(kdf.N))
    throw new NotDer('scrypt parameters out of bounds')
  return kdf
}

/** The shape that Node and OpenSSL write: salt, iterations, HMAC with SHA-256. */
function readPbkdf2(parameters: Element): Kdf {
  const [salt, count, prf] = readChildren(parameters.raw, TAG.sequence, [OCTETS, TAG.integer, TAG.sequence])
  const [hash] = readChildren(prf.raw, TAG.sequence, [TAG.oid, 0x05])
  demand(hash, OID.hmacSha256)
  const iterations = numberOf(count)
  if (iterations < PBKDF2_ITERATIONS.min || iterations > PBKDF2_ITERATIONS.max)
    throw new NotDer('PBKDF2 iterations out of bounds')
  return { name: 'pbkdf2', salt: saltOf(salt), iterations }
}

function withKeyLength(fields: Element[]): Element[] {
  if (numberOf(fields[4]) !== KEY_BYTES) throw new NotDer('another key length')
  return fields.slice(0, 4)
}

function demand(element: Element, wanted: Buffer): void {
  if (!element.raw.equals(wanted)) throw new NotDer('another algorithm')
}

function saltOf(element: Element | undefined): Buffer {
  if (element?.tag !== OCTETS || element.content.length < 8 || element.content.length > SALT_MAX_BYTES)
    throw new NotDer('no salt')
  return element.content
}

function numberOf(element: Element | undefined): number {
  const octets = element?.content
  if (element?.tag !== TAG.integer || octets === undefined || octets.length < 1 || octets.length > 4)
    throw new NotDer('not a number of at most four octets')
  if ((octets[0] ?? 0x80) >= 0x80) throw new NotDer('a negative number')
  return octets.readUIntBE(0, octets.length)
}

const isPowerOfTwo = (value: number): boolean => value > 1 && (value & (value - 1)) === 0
