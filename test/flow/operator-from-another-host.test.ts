// An operator's identity between commands: renewed when it is due before it is used, kept when the CA cannot be asked, and never used by
// two commands at once in a way that loses it.

import { X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Clock, systemClock } from '../../host/clock.js'
import { enrolOperator, type Operator, openOperator, operatorsOf } from '../../member/operator.js'
import { parseAgentName } from '../../mesh/spiffe-id.js'
import { READ_STATUS } from '../../mesh/wire/admin.js'
import { memoryLog } from '../support/memory-log.js'
import { startCa, type TestCa } from '../support/running-ca.js'

const ANN = parseAgentName('ann')
const HOUR_MS = 3_600_000
const later = (ms: number): Clock => ({ ...systemClock, now: () => systemClock.now() + ms })

let home: string
beforeEach(() => {
  home = mkdtempSync(path.join(tmpdir(), 'top-'))
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

const serial = (): string =>
  new X509Certificate(readFileSync(path.join(home, 'operators', 'ann', 'svid.pem'))).serialNumber
const options = (clock = systemClock, log = memoryLog()) => ({ home, name: ANN, dev: true, clock, log })
const status = (operator: Operator) =>
  operator.ask({ method: 'GET', path: '/v1/status', read: READ_STATUS, what: 'status', timeoutMs: 5000 })
const enrolAnn = async (ca: TestCa): Promise<Operator> => {
  await ca.admin('POST', '/v1/agents', { kind: 'operator', name: 'ann' })
  return enrolOperator(options(), { adminSocket: ca.running.adminSocket })
}

describe('an operator of another host', () => {
  it('asks the CA with the certificate it has, until that is due', async () => {
    await using ca = await startCa()
    await enrolAnn(ca)
    const before = serial()
    expect(operatorsOf(home)).toEqual(['ann'])
    expect((await status(await openOperator(options()))).members).toBe(1)
    expect(serial()).toBe(before)
  })

  it('renews what is due, once, also when several commands start at once', async () => {
    await using ca = await startCa()
    await enrolAnn(ca)
    const before = serial()
    const due = options(later(14 * HOUR_MS))
    const opened = await Promise.all([openOperator(due), openOperator(due), openOperator(due)])
    const after = serial()
    expect(after).not.toBe(before)
    for (const operator of opened) expect((await status(operator)).trustDomain).toBe('acme.internal')
    expect(readFileSync(path.join(home, 'operators', 'ann', 'bundle.pem'), 'utf8').trim()).toBe(
      ca.rootPem.trim(),
    )
  })

  it('goes on with the one it has while the CA does not answer, and says so when that has ended', async () => {
    await using ca = await startCa()
    await enrolAnn(ca)
    const before = serial()
    await ca.running.close()
    const log = memoryLog()
    await openOperator(options(later(14 * HOUR_MS), log))
    expect((await log.line('identity.renewal-failed')).level).toBe('warn')
    expect(serial()).toBe(before)
    await expect(openOperator(options(later(25 * HOUR_MS)))).rejects.toMatchObject({
      code: 'SELF_EXPIRED',
      hint: expect.stringContaining('troth token ann --kind operator') as string,
    })
  })

  it('is refused by name when it was revoked, and when it was never enrolled here', async () => {
    await using ca = await startCa()
    const ann = await enrolAnn(ca)
    await ca.admin('POST', '/v1/revocations', { kind: 'operator', name: 'ann' })
    await expect(status(ann)).rejects.toMatchObject({ code: 'PEER_REVOKED' })
    await expect(openOperator({ ...options(), name: parseAgentName('bob') })).rejects.toMatchObject({
      code: 'NOT_ENROLLED',
    })
  })
})
