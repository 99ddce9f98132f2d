import { createPrivateKey } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { makePkcs12 } from '../../../cli/pkcs12.js'
import { splitPem } from '../../../mesh/trust-bundle.js'
import { startCa } from '../../support/running-ca.js'

const PASSPHRASE = 'correct horse'

describe('a PKCS#12 file', () => {
  it('opens with its passphrase only, and holds the key under AES-256 and all certificates', async () => {
    await using ca = await startCa()
    const { keyPem, chainPem } = await ca.enrol('planner')
    const key = createPrivateKey(keyPem)
    const keyDer = key.export({ format: 'der', type: 'pkcs8' })
    const certificates = splitPem(chainPem + ca.rootPem)
    const p12 = makePkcs12({ keyDer, certificates, friendlyName: 'planner', passphrase: PASSPHRASE })
    // OpenSSL, as Node carries it
    expect(createSecureContext({ pfx: p12, passphrase: PASSPHRASE })).toBeDefined()
    expect(() => createSecureContext({ pfx: p12, passphrase: 'Correct horse' })).toThrow(/mac verify/)
    const flipped = Buffer.from(p12)
    flipped[200] = (flipped[200] ?? 0) ^ 1
    expect(() => createSecureContext({ pfx: flipped, passphrase: PASSPHRASE })).toThrow()
    const hex = p12.toString('hex')
    const secret = Buffer.from(key.export({ format: 'jwk' }).d ?? '', 'base64url')
    expect(keyDer.includes(secret)).toBe(true)
    expect(p12.includes(secret)).toBe(false)
    // aes-256-cbc, hmacWithSHA256
    expect(hex).toContain('60864801650304012a')
    expect(hex).toContain('2a864886f70d0209')
    for (const { raw } of certificates) expect(hex).toContain(raw.toString('hex'))
  })
})
