import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { readPublicKey } from '../../../../ca/certificate/public-key.js'

const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 3072 })
const rsa = publicKey.export({ format: 'der', type: 'spki' })
/** Before the modulus: SPKI, algorithm, BIT STRING, RSAPublicKey, INTEGER. */
const MODULUS_AT = 33
const unsupported: unknown = expect.objectContaining({ code: 'CSR_KEY_UNSUPPORTED' })

/** The same number with one more leading zero, every length around it right. */
function longer(spki: Buffer): Buffer {
  const der = Buffer.concat([spki.subarray(0, MODULUS_AT), Buffer.of(0), spki.subarray(MODULUS_AT)])
  for (const at of [2, 21, 26, 30]) der.writeUInt16BE(der.readUInt16BE(at) + 1, at)
  return der
}

describe('a public key has one spelling', () => {
  it('of RSA: no modulus with zeros before it', () => {
    expect(readPublicKey(rsa).kind).toBe('RSA')
    expect(() => readPublicKey(longer(rsa))).toThrow(unsupported)
  })

  it('of Ed25519: no y beyond the prime, which other readers reduce', () => {
    const y = Buffer.alloc(32, 0xff)
    // 2^255 - 19 + 3: a point whose small spelling is y = 3
    y[0] = 0xf0
    y[31] = 0x7f
    const spki = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), y])
    expect(() => readPublicKey(spki)).toThrow(unsupported)
  })
})
