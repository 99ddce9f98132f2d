import { describe, expect, it } from 'vitest'
import { openNonces } from '../../../ca/renewal/nonces.js'
import { manualClock } from '../../support/manual-clock.js'

const code = (name: string): unknown => expect.objectContaining({ code: name })
const bytesOf = (nonce: string): Buffer => Buffer.from(nonce, 'base64url')

describe('a nonce for a renewal after expiry', () => {
  it('is good once and for a minute, and never of another CA', () => {
    const clock = manualClock()
    const nonces = openNonces(clock)
    const nonce = nonces.issue()
    expect(() => openNonces(clock).spend(nonce)).toThrow(code('RENEW_NONCE_INVALID'))
    nonces.spend(nonce)
    expect(() => nonces.spend(nonce)).toThrow(code('RENEW_NONCE_INVALID'))
    const old = nonces.issue()
    clock.advance(60_000)
    expect(() => nonces.spend(old)).toThrow(code('RENEW_NONCE_INVALID'))
  })

  it('cannot be made or prolonged by anybody else', () => {
    const nonces = openNonces(manualClock())
    const nonce = bytesOf(nonces.issue())
    for (let at = 0; at < nonce.length; at += 1) {
      const forged = Buffer.from(nonce)
      forged[at] = (forged[at] ?? 0) ^ 1
      expect(() => nonces.spend(forged.toString('base64url'))).toThrow(code('RENEW_NONCE_INVALID'))
    }
    for (const other of [nonce.subarray(1), Buffer.concat([nonce, nonce]), Buffer.alloc(38, 0xff)])
      expect(() => nonces.spend(other.toString('base64url'))).toThrow(code('RENEW_NONCE_INVALID'))
    nonces.spend(nonce.toString('base64url'))
  })

  it('is remembered with a bound, and no longer than it lives', () => {
    const clock = manualClock()
    const nonces = openNonces(clock)
    for (let count = 0; count < 20_000; count += 1) nonces.spend(nonces.issue())
    expect(() => nonces.spend(nonces.issue())).toThrow(code('RENEW_TOO_OFTEN'))
    clock.advance(60_000)
    nonces.spend(nonces.issue())
  })
})
