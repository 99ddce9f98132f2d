import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { checkCrl } from '../../../../ca/certificate/check-crl.js'
import { type CrlTemplate, reasonCodeOf, signCrl, thisUpdateAt } from '../../../../ca/certificate/crl.js'
import { SIGNATURE_ALGORITHM } from '../../../../ca/certificate/template.js'
import { makeCrl, signRootCrl } from '../../../../ca/crl.js'
import { readCertificate } from '../../../../mesh/certificate.js'
import {
  bitString,
  explicit,
  implicit,
  integer,
  octetString,
  oid,
  sequence,
  time,
} from '../../../../mesh/der-writer.js'
import { isMeshError } from '../../../../mesh/errors.js'
import { twoCas } from '../../../support/two-cas.js'

const NOW = Date.parse('2026-11-22T10:00:00.500Z')
const { root, issuing } = await twoCas(NOW)
const SERIAL = '4a0102030405060708090a0b0c0d0e0f'
const template: CrlTemplate = {
  number: 1_795_341_600,
  thisUpdate: Date.parse('2026-11-22T09:55:00Z'),
  nextUpdate: Date.parse('2026-11-23T10:00:00Z'),
  lines: [],
}
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const ascii = (text: string): string => hex(Buffer.from(text, 'latin1'))

function openssl(der: Buffer, ...args: string[]): string {
  const dir = mkdtempSync(path.join(tmpdir(), 'crl-'))
  try {
    writeFileSync(path.join(dir, 'crl'), der)
    writeFileSync(path.join(dir, 'ca'), issuing.certificate.toString() + root.certificate.toString())
    return execFileSync('openssl', ['crl', '-inform', 'DER', '-in', 'crl', ...args], {
      cwd: dir,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  } finally {
    rmSync(dir, { recursive: true })
  }
}

describe('a revocation list', () => {
  it('is, byte for byte, version 2 with AKI and number; what is empty is absent', async () => {
    const der = await signCrl(template, issuing)
    const keyId = hex(issuing.issuer.keyId ?? Buffer.alloc(0))
    const tbs = [
      '020101',
      '300a06082a8648ce3d040302',
      hex(readCertificate(issuing.certificate).subjectDer),
      `170d${ascii('261122095500Z')}`,
      `170d${ascii('261123100000Z')}`,
      `a0323030301f0603551d23041830168014${keyId}`,
      '300d0603551d1404060204',
      '6b02bd20',
    ].join('')
    expect(hex(der)).toContain(`${tbs}300a06082a8648ce3d040302`)
  })

  it('names serials as positive integers, its dates never after its own, and no reason that is unspecified', async () => {
    const lines = [
      { serial: `ff${SERIAL.slice(2)}`, revokedAt: Date.parse('2026-11-22T09:00:00.900Z'), reasonCode: null },
      { serial: '007f', revokedAt: NOW, reasonCode: 1 },
    ]
    const der = hex(await signCrl({ ...template, lines }, issuing))
    const first = `3022021100ff${SERIAL.slice(2)}170d${ascii('261122090000Z')}`
    // dated when the list is: it was revoked after that
    const second = `302002017f170d${ascii('261122095500Z')}300c300a0603551d1504030a0101`
    expect(der).toContain(`3046${first}${second}`)
  })

  it('writes GeneralizedTime from 2050 on', async () => {
    const der = await signCrl({ ...template, nextUpdate: Date.parse('2050-01-01T00:00:00Z') }, issuing)
    expect(hex(der)).toContain(`170d${ascii('261122095500Z')}180f${ascii('20500101000000Z')}`)
    const before = await signCrl({ ...template, nextUpdate: Date.parse('2049-12-31T23:59:59Z') }, issuing)
    expect(hex(before)).toContain(`170d${ascii('491231235959Z')}`)
  })

  it('is read by openssl as it was meant', async () => {
    const reasons = ['keyCompromise', 'CA compromise', 'affiliation-changed', 'superseded: new', 'lost', null]
    const entries = [
      ...reasons.map((reason, index) => ({
        serial: `4a0${index}`,
        revokedAt: NOW - 3_600_000,
        revokedFor: 'revoked' as const,
        reason,
      })),
      { serial: '4b00', revokedAt: NOW - 3_600_000, revokedFor: 'removed' as const, reason: 'removed' },
      { serial: '4b01', revokedAt: NOW - 3_600_000, revokedFor: 'suspended' as const, reason: 'look' },
    ]
    const { der } = await makeCrl(issuing, { number: 77, entries, now: NOW, nextUpdate: NOW + 86_400_000 })
    const text = openssl(der, '-noout', '-text', '-verify', '-CAfile', 'ca')
    expect(text).toContain('Version 2 (0x1)')
    expect(text).toMatch(/X509v3 CRL Number: \n\s+77\n/)
    expect(text).toContain('Last Update: Nov 22 09:55:00 2026 GMT')
    expect(text).not.toContain('critical')
    const said = text
      .split('Serial Number: ')
      .slice(1)
      .map((line) => [/^\w+/.exec(line)?.[0], /Reason Code: \n\s+(.*)\n/.exec(line)?.[1]])
    expect(said).toEqual([
      ['4A00', 'Key Compromise'],
      ['4A01', 'CA Compromise'],
      ['4A02', 'Affiliation Changed'],
      ['4A03', 'Superseded'],
      ['4A04', undefined],
      ['4A05', undefined],
      ['4B00', 'Cessation Of Operation'],
      ['4B01', 'Certificate Hold'],
    ])
  })

  it('of a root lasts until the issuing CA ends, and is numbered above its last one', async () => {
    const nextUpdate = Date.parse(issuing.certificate.validTo)
    const first = await signRootCrl(root, { revoked: [], above: 0, now: NOW, nextUpdate })
    expect(first.number).toBe(Math.floor(NOW / 1000))
    const next = await signRootCrl(root, { revoked: [], above: first.number, now: NOW - 9e6, nextUpdate })
    expect(next.number).toBe(first.number + 1)
    expect(openssl(next.der, '-noout', '-nextupdate')).toBe(
      `nextUpdate=${openssl(first.der, '-noout', '-nextupdate').slice('nextUpdate='.length)}`,
    )
    expect(next.nextUpdate).toBe(nextUpdate)
  })

  it('takes a reason from the words that name one, never a hold or a removal', () => {
    expect(['keyCompromise', 'KEY-COMPROMISE: laptop', 'privilegeWithdrawn'].map(reasonCodeOf)).toEqual([
      1, 1, 9,
    ])
    const others = [
      'certificateHold',
      'removeFromCRL',
      'unspecified',
      'the key compromise',
      '',
      null,
      'constructor',
    ]
    expect(others.map(reasonCodeOf)).toEqual(others.map(() => null))
  })

  it('of 20,000 lines leaves the thread its turns', async () => {
    const lines = Array.from({ length: 20_000 }, (_, index) => ({
      serial: `4a${index.toString(16).padStart(30, '0')}`,
      revokedAt: NOW - index,
      reasonCode: null,
    }))
    let turns = 0
    const count = (): void => {
      turns += 1
      timer = setImmediate(count)
    }
    let timer = setImmediate(count)
    const der = await signCrl({ ...template, lines }, issuing)
    clearImmediate(timer)
    expect(der.length).toBeLessThan(40 * lines.length)
    expect(turns).toBeGreaterThan(70)
  })
})

describe('what was just signed', () => {
  const lines = [{ serial: SERIAL, revokedAt: NOW - 1e6, reasonCode: 1 }]
  const meant = { ...template, lines }
  const codeOf = (refusal: unknown): unknown => (isMeshError(refusal) ? refusal.code : refusal)
  const check = (der: Buffer, wanted: CrlTemplate, by = issuing.certificate): Promise<unknown> =>
    checkCrl(der, wanted, by).then(() => 'passed', codeOf)

  it('passes as it is, and fails when one thing differs from what was meant', async () => {
    const der = await signCrl(meant, issuing)
    expect(await check(der, meant)).toBe('passed')
    const others: CrlTemplate[] = [
      { ...meant, number: meant.number + 1 },
      { ...meant, thisUpdate: meant.thisUpdate - 1000 },
      { ...meant, nextUpdate: meant.nextUpdate + 1000 },
      { ...meant, lines: [] },
      { ...meant, lines: [...lines, ...lines] },
      { ...meant, lines: [{ ...meant.lines[0]!, serial: '01' }] },
      { ...meant, lines: [{ ...meant.lines[0]!, reasonCode: null }] },
      { ...meant, lines: [{ ...meant.lines[0]!, reasonCode: 3 }] },
      { ...meant, lines: [{ ...meant.lines[0]!, revokedAt: NOW - 2e6 }] },
    ]
    for (const other of others) expect(await check(der, other)).toBe('ISSUE_CHECK_FAILED')
    expect(await check(der, meant, root.certificate)).toBe('ISSUE_CHECK_FAILED')
  })

  it('fails when it ends before it begins, or names another key than its issuer’s', async () => {
    const backwards = { ...meant, nextUpdate: meant.thisUpdate }
    const named = (keyId: Buffer) => ({ ...issuing, issuer: { ...issuing.issuer, keyId } })
    await expect(signCrl(backwards, issuing)).rejects.toThrow('the validity of the revocation list')
    await expect(signCrl(meant, named(Buffer.alloc(20)))).rejects.toThrow('the extensions of the revocation')
  })

  it('fails when it has a further extension, though all that was meant is there', async () => {
    const { subjectDer, keyId } = issuing.issuer
    const crlNumber = Buffer.alloc(4)
    crlNumber.writeUInt32BE(template.number)
    const known = [
      sequence(oid('2.5.29.35'), octetString(sequence(implicit(0, keyId ?? Buffer.alloc(0))))),
      sequence(oid('2.5.29.20'), octetString(integer(crlNumber))),
    ]
    const listWith = async (...extensions: Buffer[]): Promise<Buffer> => {
      const times = [time(template.thisUpdate), time(template.nextUpdate)]
      const end = explicit(0, sequence(...extensions))
      const tbs = sequence(integer(1), SIGNATURE_ALGORITHM, subjectDer, ...times, end)
      return sequence(tbs, SIGNATURE_ALGORITHM, bitString(await issuing.key.sign(tbs)))
    }
    expect(await check(await listWith(...known), template)).toBe('passed')
    // a delta's base, as some verifiers take it: this list would be no whole one
    const delta = sequence(oid('2.5.29.27'), octetString(integer(1)))
    expect(await check(await listWith(...known, delta), template)).toBe('ISSUE_CHECK_FAILED')
  })

  it('fails when any bit of it is another', async () => {
    const der = await signCrl(meant, issuing)
    for (let at = 0; at < der.length; at += 1) {
      const flipped = Buffer.from(der)
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8))
      expect(`${at} ${String(await check(flipped, meant))}`).toBe(`${at} ISSUE_CHECK_FAILED`)
    }
  })

  it('is dated back as certificates are, in whole seconds', () => {
    expect(new Date(thisUpdateAt(NOW)).toISOString()).toBe('2026-11-22T09:55:00.000Z')
  })
})
