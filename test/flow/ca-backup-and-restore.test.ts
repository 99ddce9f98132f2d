// A CA is lost and restored from its backup: what was revoked since comes back from the members, the mesh goes on renewing, and
// until then nothing is issued.

import { randomUUID } from 'node:crypto'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { localAdminClient } from '../../cli/admin-client.js'
import { makeKeyAndCsr } from '../../member/identity/csr.js'
import { READ_ENROLMENT } from '../../mesh/wire/enrolment.js'
import type { RevokedSerial } from '../../mesh/wire/feed.js'
import { READ_RECOVERY } from '../../mesh/wire/recovery.js'
import { rawSqlite } from '../support/raw-sqlite.js'
import { drill, issuerOf, recoveryOf, tell, until } from '../support/restored-ca.js'
import { answerOf, codeOf, memberOf, type TestCa, type TestMember } from '../support/running-ca.js'

async function renew(ca: TestCa, member: TestMember): Promise<unknown> {
  const { instanceId, name } = member
  const { keyPem, csrPem } = await makeKeyAndCsr({ commonName: name, instanceId })
  const reply = await ca.member(member, 'POST', '/v1/renew', { csrPem })
  if (reply.status !== 200) return codeOf(reply)
  return memberOf(name, { instanceId, keyPem, enrolment: answerOf(reply, READ_ENROLMENT) })
}

describe('a restored CA', () => {
  it('issues nothing in any way until the members have told, and spends no token meanwhile', async () => {
    let planner!: TestMember
    await using ca = await drill({
      before: async (first) => {
        planner = await first.enrol('planner')
      },
    })
    expect(await renew(ca, planner)).toBe('CA_RESTORED')
    const { csrPem } = await makeKeyAndCsr({ commonName: 'planner', instanceId: planner.instanceId })
    const query = { kind: 'agent', name: 'planner', instanceId: planner.instanceId, csrPem }
    expect(codeOf(await ca.admin('POST', '/v1/enrol-local', query))).toBe('CA_RESTORED')
    const foreign = await ca.admin('POST', '/v1/certs', { name: 'planner', csrPem })
    expect(codeOf(foreign)).toBe('CA_RESTORED')
    const secret = await ca.mint('planner')
    expect(codeOf(await ca.public('POST', '/v1/enrol', { ...query, secret }))).toBe('CA_RESTORED')

    const feed = await ca.feed(planner)
    feed.send({ type: 'hello', position: null, capabilities: [] })
    expect((await feed.next('snapshot')).returns).toBe(true)
    feed.send({ type: 'known', ids: [], serials: [], last: true })
    await until(async () => (await recoveryOf(ca))?.endedBy === 'members')
    expect((await ca.public('POST', '/v1/enrol', { ...query, secret })).status).toBe(200)
    feed.close()
  })

  it('gets back what was revoked after the backup, and keeps it in force', async () => {
    const members: TestMember[] = []
    let evil!: TestMember
    await using ca = await drill({
      before: async (first) => {
        for (const name of ['planner', 'tickets', 'search']) members.push(await first.enrol(name))
        evil = await first.enrol('evil')
      },
      after: async (first) => {
        expect((await first.admin('POST', '/v1/revocations', { name: 'evil' })).status).toBe(200)
      },
    })
    // the backup does not know better
    const before = await recoveryOf(ca)
    expect(before?.missing).toHaveLength(4)
    const id = evil.enrolment.spiffeId
    for (const member of members) {
      const feed = await ca.feed(member)
      feed.send({ type: 'hello', position: { generation: randomUUID(), epoch: 7 }, capabilities: [] })
      await feed.next('snapshot')
      feed.send({ type: 'known', ids: [id], serials: [], last: true })
      await until(
        async () =>
          (await recoveryOf(ca))?.missing.every((each) => each.id !== member.enrolment.spiffeId) === true,
      )
      feed.close()
    }
    const after = await recoveryOf(ca)
    expect(after).toMatchObject({ endedBy: 'members', missing: [] })
    expect(after?.claims).toMatchObject([{ id, inForce: true }])
    expect(await renew(ca, evil)).toBe('PEER_REVOKED')
    expect(await renew(ca, members[0]!)).toHaveProperty('serial')
    const { json } = await ca.admin('GET', '/v1/agents/evil')
    expect(json).toMatchObject({ state: 'revoked' })
  })

  it('lets no single member revoke another, and shows who said it', async () => {
    const members: TestMember[] = []
    let liar!: TestMember
    await using ca = await drill({
      before: async (first) => {
        for (const name of ['planner', 'tickets']) members.push(await first.enrol(name))
        liar = await first.enrol('liar')
      },
    })
    const victims = members.map(({ enrolment }) => enrolment.spiffeId)
    await tell(ca, liar, { ids: victims })
    for (const member of members) await tell(ca, member, {})
    const held = await recoveryOf(ca)
    expect(held).toMatchObject({ endedAt: null, missing: [] })
    expect(held?.claims.map(({ by, inForce }) => [by, inForce])).toEqual(
      victims.map(() => [[liar.enrolment.spiffeId], false]),
    )
    const confirmed = await ca.admin('POST', '/v1/recovery/confirm', { disbelieve: ['liar'] })
    expect(answerOf(confirmed, READ_RECOVERY).recovery?.claims).toEqual([])
    expect(await renew(ca, members[0]!)).toHaveProperty('serial')
    expect(codeOf(await ca.admin('POST', '/v1/recovery/confirm', {}))).toBe('CA_NOT_RESTORED')
  })

  it('shows more claims than one answer holds', async () => {
    const count = 100_001
    await using ca = await drill({
      before: async (first) => {
        await first.enrol('planner')
      },
    })
    const db = rawSqlite(path.join(ca.home, 'ca', 'ca.db'))
    db.prepare(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count})
       INSERT INTO claims (object, claimed_by, id, issuer, serial, expires_at, claimed_at)
       SELECT printf('issuer:%08x', i), printf('spiffe://acme.internal/agent/t-%d', i / 5000),
         'spiffe://acme.internal/agent/planner', 'issuer', printf('%08x', i), 0, 0 FROM n`,
    ).run()
    db.close()
    await ca.restart()
    const { recovery } = await localAdminClient(ca.home).recovery()
    expect(recovery?.missing).toHaveLength(1)
    expect(new Set(recovery?.claims.map(({ serial }) => serial)).size).toBe(count)
  })

  it('takes the word of a few when the operator confirms', async () => {
    const members: TestMember[] = []
    await using ca = await drill({
      before: async (first) => {
        for (const name of ['planner', 'tickets', 'away']) members.push(await first.enrol(name))
      },
    })
    const [planner, tickets] = members
    const serial = tickets!.serial
    const { json } = await ca.admin('GET', `/v1/certs/${serial}`)
    expect(json).toMatchObject({ serial, revokedAt: null })
    const issuer = issuerOf(planner!)
    await tell(ca, planner!, {
      serials: [
        { issuer, serial, id: tickets!.enrolment.spiffeId, expiresAt: Date.parse(tickets!.leaf.validTo) },
      ],
    })
    const waiting = await recoveryOf(ca)
    expect(waiting).toMatchObject({ endedAt: null })
    expect(waiting?.missing.map((each) => each.instanceId)).toContain(members[2]!.instanceId)
    expect((await ca.admin('POST', '/v1/recovery/confirm', {})).status).toBe(200)
    expect(await renew(ca, tickets!)).toBe('PEER_REVOKED')
    expect(await renew(ca, planner!)).toHaveProperty('serial')
  })

  it('keeps only what it could have revoked itself', async () => {
    let planner!: TestMember
    await using ca = await drill({
      before: async (first) => {
        planner = await first.enrol('planner')
      },
    })
    const issuer = issuerOf(planner)
    const far = Date.now() + 3_600_000
    const serials: RevokedSerial[] = [
      { issuer: 'f'.repeat(64), serial: 'aa', id: planner.enrolment.spiffeId, expiresAt: far },
      { issuer, serial: 'bb', id: 'spiffe://other.internal/agent/x' as never, expiresAt: far },
      { issuer, serial: 'cc', id: 'spiffe://acme.internal/ca' as never, expiresAt: far },
      { issuer, serial: 'dd', id: planner.enrolment.spiffeId, expiresAt: far + 400 * 86_400_000 },
      { issuer, serial: 'ee', id: planner.enrolment.spiffeId, expiresAt: 1 },
      { issuer, serial: 'NOTHEX', id: planner.enrolment.spiffeId, expiresAt: far },
      { issuer, serial: planner.serial, id: 'spiffe://acme.internal/agent/other' as never, expiresAt: far },
    ]
    const ids = [
      'spiffe://other.internal/agent/x',
      'spiffe://acme.internal/ca',
      'spiffe://acme.internal/a/b/c',
    ]
    await tell(ca, planner, { ids, serials })
    expect((await recoveryOf(ca))?.claims).toEqual([])
  })

  it('takes revocations only when it asked, and only so many', async () => {
    let planner!: TestMember
    await using ca = await drill({
      before: async (first) => {
        planner = await first.enrol('planner')
      },
    })
    await tell(ca, planner, {})
    const feed = await ca.feed(planner)
    feed.send({ type: 'hello', position: null, capabilities: [] })
    expect((await feed.next('snapshot')).returns).toBe(false)
    feed.send({ type: 'known', ids: [], serials: [], last: true })
    expect((await feed.next('problem')).code).toBe('WIRE_MALFORMED')
    await feed.closed
  })

  it('adopts the certificates of the lost time, and they renew', async () => {
    let planner!: TestMember
    let newest!: TestMember
    let fresh!: TestMember
    await using ca = await drill({
      before: async (first) => {
        planner = await first.enrol('planner')
      },
      after: async (first) => {
        newest = (await renew(first, planner)) as TestMember
        fresh = await first.enrol('fresh')
      },
    })
    // registered after the backup: known again when the operator says so
    await expect(ca.feed(fresh)).rejects.toMatchObject({ code: 'AGENT_UNKNOWN' })
    await tell(ca, newest, {})
    expect(await renew(ca, newest)).toHaveProperty('serial')
    expect(await renew(ca, planner)).toBe('RENEW_SUPERSEDED')
    await ca.admin('POST', '/v1/agents', { name: 'fresh' })
    expect(await renew(ca, fresh)).toHaveProperty('serial')
  })

  it('gets back the revocation of a certificate that it never knew', async () => {
    let planner!: TestMember
    let stolen!: TestMember
    let issuer = ''
    await using ca = await drill({
      before: async (first) => {
        planner = await first.enrol('planner')
        await first.admin('POST', '/v1/agents', { name: 'evil' })
      },
      after: async (first) => {
        stolen = await first.enrol('evil')
        issuer = issuerOf(stolen)
        await first.admin('DELETE', `/v1/certs/${stolen.serial}`)
      },
    })
    const entry = {
      issuer,
      serial: stolen.serial,
      id: stolen.enrolment.spiffeId,
      expiresAt: Date.parse(stolen.leaf.validTo),
    }
    await tell(ca, planner, { serials: [entry] })
    expect((await recoveryOf(ca))?.endedBy).toBe('members')
    await expect(ca.feed(stolen)).rejects.toMatchObject({ code: 'PEER_REVOKED' })
    const feed = await ca.feed(planner)
    feed.send({ type: 'hello', position: null, capabilities: [] })
    expect((await feed.next('snapshot')).view.revokedSerials).toMatchObject([{ serial: stolen.serial }])
    feed.close()
    // outsiders are told too
    await until(async () => {
      const list = await fetch(`http://127.0.0.1:${ca.running.port}/crl/issuing.crl`)
      return Buffer.from(await list.arrayBuffer()).includes(Buffer.from(stolen.serial, 'hex'))
    })
  })
})
