import { describe, expect, it } from 'vitest'
import { makeCrl, signRootCrl } from '../../../ca/crl.js'
import { keyFingerprintOf } from '../../../mesh/authorities.js'
import { readRootCrl } from '../../../mesh/root-crl.js'
import { twoCas } from '../../support/two-cas.js'

const NOW = Date.parse('2026-11-22T10:00:00Z')
const { root, issuing } = await twoCas(NOW)
const line = (serial: string) => ({ serial, revokedAt: NOW, reason: 'keyCompromise', revokedFor: null })
const listOf = (...serials: string[]) =>
  signRootCrl(root, { revoked: serials.map(line), above: 0, now: NOW, nextUpdate: NOW + 60_000 })

describe('the list of a root', () => {
  it('names what the root withdrew, as certificates are read', async () => {
    const { serialNumber } = issuing.certificate
    const { der } = await listOf(serialNumber.toLowerCase(), 'ff01')
    const issuer = keyFingerprintOf(root.certificate)
    expect(await readRootCrl(der, root.certificate)).toEqual([
      { issuer, serial: serialNumber.toLowerCase() },
      { issuer, serial: 'ff01' },
    ])
    expect(await readRootCrl((await listOf()).der, root.certificate)).toEqual([])
  })

  it("is nobody else's: by another key, of another issuer, changed, cut, or too long it is refused", async () => {
    const { der } = await listOf('7f01')
    const other = await twoCas(NOW)
    const byIssuing = await makeCrl(issuing, {
      number: 1,
      entries: [line('7f01')],
      now: NOW,
      nextUpdate: NOW + 60_000,
    })
    const changed = Buffer.from(der)
    const at = changed.indexOf(Buffer.from('7f01', 'hex'))
    changed[at] = 0x7e
    for (const [bytes, signer] of [
      [der, other.root],
      [byIssuing.der, root],
      [changed, root],
      [der.subarray(0, -1), root],
      [Buffer.concat([der, Buffer.alloc(65_536)]), root],
      [Buffer.alloc(0), root],
    ] as const)
      await expect(readRootCrl(bytes, signer.certificate)).rejects.toMatchObject({ code: 'CRL_INVALID' })
  })
})
