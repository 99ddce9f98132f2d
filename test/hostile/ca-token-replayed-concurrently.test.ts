import { randomUUID } from 'node:crypto'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { ANY_RECORD, openLedgerReader } from '../../host/audit-table.js'
import { makeKeyAndCsr } from '../../member/identity/csr.js'
import { codeOf, startCa } from '../support/running-ca.js'

describe('a join token that is replayed', () => {
  it('by many clients at once gives exactly one of them a certificate', async () => {
    await using ca = await startCa()
    const secret = await ca.mint('planner')
    const attempts = Array.from({ length: 12 }, async () => {
      const instanceId = randomUUID()
      const { csrPem } = await makeKeyAndCsr({ commonName: 'planner', instanceId })
      return ca.public('POST', '/v1/enrol', { secret, kind: 'agent', name: 'planner', instanceId, csrPem })
    })
    const replies = await Promise.all(attempts)
    expect(replies.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(replies.filter((reply) => codeOf(reply) === 'JOIN_TOKEN_SPENT')).toHaveLength(11)
  })

  it('by guessing is turned away after thirty wrong tokens a minute, and is counted, not recorded one by one', async () => {
    await using ca = await startCa()
    const secret = await ca.mint('planner')
    const instanceId = randomUUID()
    const { csrPem } = await makeKeyAndCsr({ commonName: 'planner', instanceId })
    const codes: unknown[] = []
    for (let count = 0; count < 31; count += 1) {
      const guess = { secret: `guess ${count}`, kind: 'agent', name: 'planner', instanceId, csrPem }
      codes.push(codeOf(await ca.public('POST', '/v1/enrol', guess)))
    }
    expect(codes.filter((code) => code === 'JOIN_TOKEN_INVALID')).toHaveLength(30)
    const right = { secret, kind: 'agent', name: 'planner', instanceId, csrPem }
    expect(codeOf(await ca.public('POST', '/v1/enrol', right))).toBe('JOIN_TOKEN_TRIES')
    await ca.running.close()
    const reader = openLedgerReader(path.join(ca.home, 'ca', 'ca.db'))
    const rows = reader.calls(ANY_RECORD)
    reader.close()
    expect(rows.filter(({ operation }) => operation === 'enrol')).toEqual([])
    expect(rows.flatMap(({ kind, reason, count }) => (kind === 'refusal' ? [[reason, count]] : []))).toEqual([
      ['JOIN_TOKEN_INVALID', 1],
      ['JOIN_TOKEN_TRIES', 1],
      ['JOIN_TOKEN_INVALID', 29],
      ['JOIN_TOKEN_TRIES', 1],
    ])
  })

  it('by guessing from many connections at once gets no more tries than one after the other', async () => {
    await using ca = await startCa()
    await ca.mint('planner')
    const instanceId = randomUUID()
    const { csrPem } = await makeKeyAndCsr({ commonName: 'planner', instanceId })
    const guesses = Array.from({ length: 60 }, (_each, index) =>
      ca.public('POST', '/v1/enrol', {
        secret: `guess ${index}`,
        kind: 'agent',
        name: 'planner',
        instanceId,
        csrPem,
      }),
    )
    const codes = (await Promise.all(guesses)).map(codeOf)
    expect(codes.filter((code) => code === 'JOIN_TOKEN_INVALID')).toHaveLength(30)
    expect(codes.filter((code) => code === 'JOIN_TOKEN_TRIES')).toHaveLength(30)
  })
})
