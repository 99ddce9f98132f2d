import { randomUUID } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { makeKeyAndCsr } from '../../member/identity/csr.js'
import { READ_AGENT } from '../../mesh/wire/admin.js'
import { READ_ENROLMENT } from '../../mesh/wire/enrolment.js'
import { manualClock } from '../support/manual-clock.js'
import { answerOf, codeOf, memberOf, type Reply, startCa, type TestCa } from '../support/running-ca.js'

async function enrol(
  ca: TestCa,
  changes: { secret: string; name?: string; csrPem?: string; kind?: string },
): Promise<{ reply: Reply; keyPem: string; instanceId: string }> {
  const instanceId = randomUUID()
  const { keyPem, csrPem } = await makeKeyAndCsr({ commonName: 'somebody-else', instanceId })
  const request = { kind: 'agent', name: 'planner', instanceId, csrPem, ...changes }
  return { reply: await ca.public('POST', '/v1/enrol', request), keyPem, instanceId }
}

describe('enrolment at the CA', () => {
  it('gives the holder of a token a leaf with exactly its names', async () => {
    await using ca = await startCa()
    const { reply, keyPem, instanceId } = await enrol(ca, { secret: await ca.mint('planner') })
    const { leaf, enrolment } = memberOf('planner', {
      instanceId,
      keyPem,
      enrolment: answerOf(reply, READ_ENROLMENT),
    })
    expect(leaf.subjectAltName).toBe('URI:spiffe://acme.internal/agent/planner, DNS:planner.mesh')
    expect(leaf.subject.split('\n')).toEqual(['CN=planner', `serialNumber=${instanceId}`])
    expect(enrolment.caAddress).toBe(ca.running.address)
    expect(enrolment.renewAfterSeconds).toBeGreaterThan(0.44 * 86_400)
    expect(enrolment.renewAfterSeconds).toBeLessThan(0.56 * 86_400)
    const agent = answerOf(await ca.admin('GET', '/v1/agents/planner'), READ_AGENT)
    expect(agent.state).toBe('enrolled')
    expect(agent.instances.map((each) => each.instanceId)).toEqual([instanceId])
  })

  it('burns a token once, and not with a request that is malformed or names another', async () => {
    await using ca = await startCa()
    const secret = await ca.mint('planner')
    expect(codeOf((await enrol(ca, { secret, csrPem: 'junk' })).reply)).toBe('CSR_INVALID')
    expect(codeOf((await enrol(ca, { secret, name: 'tickets' })).reply)).toBe('JOIN_TOKEN_OTHER_NAME')
    expect(codeOf((await enrol(ca, { secret, kind: 'collector' })).reply)).toBe('JOIN_TOKEN_OTHER_NAME')
    expect((await enrol(ca, { secret })).reply.status).toBe(200)
    expect(codeOf((await enrol(ca, { secret })).reply)).toBe('JOIN_TOKEN_SPENT')
  })

  it('keeps no secret of a token: what it stores opens nothing', async () => {
    await using ca = await startCa()
    const secret = await ca.mint('planner')
    const stored = readdirSync(path.join(ca.home, 'ca'))
      .filter((name) => name.startsWith('ca.db'))
      .map((name) => readFileSync(path.join(ca.home, 'ca', name), 'latin1'))
      .join('')
    expect(stored).toContain('planner')
    expect(stored).not.toContain(secret)
    expect(stored).not.toContain(Buffer.from(secret, 'base64url').toString('latin1'))
  })

  it('refuses a token after ten minutes', async () => {
    const clock = manualClock()
    await using ca = await startCa({ clock })
    const secret = await ca.mint('planner')
    clock.advance(600_000)
    expect(codeOf((await enrol(ca, { secret })).reply)).toBe('JOIN_TOKEN_EXPIRED')
  })

  it('gives an agent the life that was set for it', async () => {
    await using ca = await startCa()
    await ca.admin('POST', '/v1/agents', { name: 'planner', ttlSeconds: 900 })
    const { leaf } = await ca.enrol('planner')
    const lifeMs = Date.parse(leaf.validTo) - Date.parse(leaf.validFrom)
    expect(lifeMs).toBe(900_000 + 300_000)
  })

  it('over the admin socket needs a registered name, except for the collector', async () => {
    await using ca = await startCa()
    const { csrPem } = await makeKeyAndCsr({ commonName: 'x', instanceId: 'x' })
    const ask = (kind: string): Promise<Reply> =>
      ca.admin('POST', '/v1/enrol-local', { kind, name: 'fresh', instanceId: randomUUID(), csrPem })
    expect(codeOf(await ask('agent'))).toBe('AGENT_UNKNOWN')
    expect(answerOf(await ask('collector'), READ_ENROLMENT).spiffeId).toBe(
      'spiffe://acme.internal/collector/fresh',
    )
  })

  it('issues for a foreign client, registering its name', async () => {
    await using ca = await startCa()
    const { csrPem } = await makeKeyAndCsr({ commonName: 'x', instanceId: 'x' })
    const issued = answerOf(await ca.admin('POST', '/v1/certs', { name: 'curl', csrPem }), READ_ENROLMENT)
    expect(issued.spiffeId).toBe('spiffe://acme.internal/agent/curl')
    expect(answerOf(await ca.admin('GET', '/v1/agents/curl'), READ_AGENT).state).toBe('enrolled')
  })
})
