import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { proveIdentity } from '../../../member/identity/stored-identity.js'
import { namedId, parseAgentName, parseTrustDomain } from '../../../mesh/spiffe-id.js'
import { isDevRoot, parseTrustBundle, splitPem } from '../../../mesh/trust-bundle.js'
import { formatJoinToken } from '../../../mesh/wire/enrolment.js'
import { type ManualClock, manualClock } from '../../support/manual-clock.js'
import { codeOf, makeTestHome, type TestHome, until } from '../../support/open-test-member.js'
import { startTestAuthority, type TestAuthority } from '../../support/test-authority.js'

let at: TestHome
const open: TestHome['open'] = (options) => at.open(options)
const file = (name: string): string => at.file(name)

beforeEach(() => {
  at = makeTestHome()
})
afterEach(() => at[Symbol.asyncDispose]())

const byToken = (ca: TestAuthority, name = 'planner') => ({ enrolBy: { token: ca.token('agent', name) } })

/** Advances in steps, letting sockets and promises breathe, until it is so. */
async function advanceUntil(clock: ManualClock, stepMs: number, isSo: () => boolean): Promise<void> {
  await until('while time goes on', () => {
    if (isSo()) return true
    clock.advance(stepMs)
    return false
  })
}

describe('enrolment by token', () => {
  it('gives the identity of the name, stored with private modes', async () => {
    await using ca = await startTestAuthority()
    const member = await open(byToken(ca))
    expect(member.id).toBe('spiffe://acme.internal/agent/planner')
    expect(member.credentials.current().svid.instanceId).toBe(member.instanceId)
    for (const name of ['svid.pem', 'key.pem', 'bundle.pem', 'instance.json'])
      expect([name, statSync(file(name)).mode & 0o777]).toEqual([name, 0o600])
    expect(statSync(member.dir).mode & 0o777).toBe(0o700)
    expect(existsSync(file('key.next.pem'))).toBe(false)
    expect(splitPem(readFileSync(file('svid.pem'), 'utf8'))).toHaveLength(2)
    expect(splitPem(readFileSync(file('bundle.pem'), 'utf8')).map(isDevRoot)).toEqual([true])
  })

  it('refuses a CA with another root, and sends it nothing', async () => {
    await using ca = await startTestAuthority()
    await using impostor = await startTestAuthority()
    const token = formatJoinToken({
      trustDomain: ca.hierarchy.trustDomain,
      caAddress: impostor.address,
      rootFingerprints: ['0'.repeat(64)],
      kind: 'agent',
      name: parseAgentName('planner'),
      secret: 's',
    })
    expect(await codeOf(open({ enrolBy: { token } }))).toBe('CA_FINGERPRINT_MISMATCH')
    expect(impostor.requests).toEqual([])
    expect(existsSync(file('key.next.pem'))).toBe(false)
    expect(existsSync(file('lock'))).toBe(false)
  })

  it('refuses a server of the same root that is not the CA, and sends it nothing', async () => {
    await using ca = await startTestAuthority({ serverId: 'spiffe://acme.internal/agent/ca' })
    expect(await codeOf(open(byToken(ca)))).toBe('CA_IDENTITY_WRONG')
    expect(ca.requests).toEqual([])
  })

  it('refuses a server whose certificate names the CA and somebody else', async () => {
    const uris = ['spiffe://acme.internal/ca', 'spiffe://acme.internal/agent/x']
    await using ca = await startTestAuthority({ server: { uris } })
    expect(await codeOf(open(byToken(ca)))).toBe('CA_IDENTITY_WRONG')
    expect(ca.requests).toEqual([])
  })

  it('says that a loopback address in a token means this host when nothing answers there', async () => {
    const ca = await startTestAuthority()
    const token = ca.token('agent', 'planner')
    await ca[Symbol.asyncDispose]()
    expect(await codeOf(open({ enrolBy: { token } }))).toBe('CA_ADDRESS_LOOPBACK')
  })

  it('says so when what answers at the loopback address does not speak TLS', async () => {
    const server = createServer((socket) => socket.end('hello'))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    await using ca = await startTestAuthority()
    const token = formatJoinToken({
      trustDomain: ca.hierarchy.trustDomain,
      caAddress: `127.0.0.1:${port}`,
      rootFingerprints: ['0'.repeat(64)],
      kind: 'agent',
      name: parseAgentName('planner'),
      secret: 's',
    })
    expect(await codeOf(open({ enrolBy: { token } }))).toBe('CA_ADDRESS_LOOPBACK')
    server.close()
  })

  it('stops at a development root without --dev, before the token leaves', async () => {
    await using ca = await startTestAuthority()
    expect(await codeOf(open({ ...byToken(ca), dev: false }))).toBe('DEV_ROOT')
    expect(ca.requests).toEqual([])
  })

  it('stops at a development root without --dev over the admin socket too', async () => {
    await using ca = await startTestAuthority()
    const adminSocket = path.join(at.home, 'admin.sock')
    await ca.openAdminSocket(adminSocket)
    expect(await codeOf(open({ enrolBy: { adminSocket }, dev: false }))).toBe('DEV_ROOT')
  })

  it('accepts a production root without --dev', async () => {
    await using ca = await startTestAuthority({ dev: false })
    expect((await open({ ...byToken(ca), dev: false })).id).toContain('planner')
  })

  it('names clocks that differ by more than five minutes, and is enrolled when they are set', async () => {
    await using ca = await startTestAuthority()
    ca.behaviour.skewMs = 6 * 60_000
    expect(await codeOf(open(byToken(ca)))).toBe('CLOCK_SKEW')
    expect((await open()).id).toContain('planner')
  })

  it("names the clock when the CA's certificate lies in the future", async () => {
    const notBefore = Date.now() + 3_600_000
    await using ca = await startTestAuthority({ server: { notBefore } })
    expect(await codeOf(open(byToken(ca)))).toBe('CLOCK_SKEW')
    expect(ca.requests).toEqual([])
  })

  it('refuses a token of another name or kind, without asking anybody', async () => {
    await using ca = await startTestAuthority()
    expect(await codeOf(open(byToken(ca, 'tickets')))).toBe('JOIN_TOKEN_OTHER_NAME')
    expect(await codeOf(open({ enrolBy: { token: ca.token('collector', 'planner') } }))).toBe(
      'JOIN_TOKEN_OTHER_NAME',
    )
    expect(ca.requests).toEqual([])
  })

  it('hands on the refusal of the CA and leaves nothing behind', async () => {
    await using ca = await startTestAuthority()
    ca.behaviour.refuseWith = { status: 409, code: 'JOIN_TOKEN_SPENT' }
    expect(await codeOf(open(byToken(ca)))).toBe('JOIN_TOKEN_SPENT')
    expect(existsSync(file('.'))).toBe(false)
  })

  it('refuses an answer whose certificate is for another key, name or instance', async () => {
    await using ca = await startTestAuthority()
    let other = ''
    ca.behaviour.twist = (answer) => {
      other = answer.chainPem
      return answer
    }
    await (await open({ ...byToken(ca, 'tickets'), name: parseAgentName('tickets') })).stop()
    ca.behaviour.twist = (answer) => ({ ...answer, chainPem: other })
    expect(await codeOf(open(byToken(ca)))).toBe('WIRE_MALFORMED')
    expect(existsSync(file('svid.pem'))).toBe(false)
  })

  it('refuses a certificate of its name and key that is for another instance', async () => {
    await using ca = await startTestAuthority()
    const name = parseAgentName('planner')
    const member = await open(byToken(ca))
    const stored = {
      keyPem: readFileSync(file('key.pem'), 'utf8'),
      chainPem: readFileSync(file('svid.pem'), 'utf8'),
    }
    const bundle = parseTrustBundle(
      parseTrustDomain('acme.internal'),
      readFileSync(file('bundle.pem'), 'utf8'),
    )
    const expected = { id: namedId(bundle.trustDomain, 'agent', name), bundle }
    expect(proveIdentity(stored, { ...expected, instanceId: member.instanceId }).svid.id).toBe(member.id)
    const other = '00000000-0000-4000-8000-000000000000'
    expect(() => proveIdentity(stored, { ...expected, instanceId: other })).toThrow(
      expect.objectContaining({ code: 'WIRE_MALFORMED' }),
    )
  })

  it('needs a way to enrol when there is no identity', async () => {
    expect(await codeOf(open())).toBe('CONFIG_MISSING')
  })
})

describe('enrolment over the admin socket', () => {
  it('needs no token', async () => {
    await using ca = await startTestAuthority()
    const adminSocket = path.join(at.home, 'admin.sock')
    await ca.openAdminSocket(adminSocket)
    const member = await open({ enrolBy: { adminSocket } })
    expect(member.id).toBe('spiffe://acme.internal/agent/planner')
    expect(ca.requests.map((each) => each.path)).toEqual(['/v1/enrol-local'])
    expect(Object.keys(ca.requests[0]?.body ?? {}).sort()).toEqual(['csrPem', 'instanceId', 'kind', 'name'])
  })

  it('serves a collector, whose state stands by itself', async () => {
    await using ca = await startTestAuthority()
    const adminSocket = path.join(at.home, 'admin.sock')
    await ca.openAdminSocket(adminSocket)
    const name = parseAgentName('main')
    const member = await open({ enrolBy: { adminSocket }, kind: 'collector', name })
    expect(member.id).toBe('spiffe://acme.internal/collector/main')
    expect(member.dir).toBe(path.join(at.home, 'collector'))
  })

  it('says so when no CA runs there', async () => {
    const adminSocket = path.join(at.home, 'admin.sock')
    expect(await codeOf(open({ enrolBy: { adminSocket } }))).toBe('CA_ADMIN_UNREACHABLE')
  })
})

describe('an enrolled member', () => {
  it('opens again without a token and keeps its instance', async () => {
    await using ca = await startTestAuthority()
    const first = await open(byToken(ca))
    await first.stop()
    const again = await open()
    expect(again.instanceId).toBe(first.instanceId)
    expect(ca.requests).toHaveLength(1)
  })

  it('does not spend a token it does not need', async () => {
    await using ca = await startTestAuthority()
    await (await open(byToken(ca))).stop()
    await open(byToken(ca))
    expect(ca.requests).toHaveLength(1)
  })

  it('enrols anew by a token of another mesh', async () => {
    await using old = await startTestAuthority()
    await using ca = await startTestAuthority({ trustDomain: 'other.internal' })
    await (await open(byToken(old))).stop()
    expect((await open(byToken(ca))).id).toBe('spiffe://other.internal/agent/planner')
  })

  it('enrols again when the disk failed in the middle of moving to another mesh', async () => {
    await using old = await startTestAuthority()
    await using ca = await startTestAuthority({ trustDomain: 'other.internal' })
    await (await open(byToken(old))).stop()
    rmSync(file('world.json'), { force: true })
    mkdirSync(file('world.json'))
    await expect(open(byToken(ca))).rejects.toThrow()
    rmdirSync(file('world.json'))
    expect((await open(byToken(ca))).id).toBe('spiffe://other.internal/agent/planner')
  })

  it('keeps the key of a leaf that was saved when the disk failed before the key was in its place', async () => {
    await using ca = await startTestAuthority()
    mkdirSync(file('key.pem'), { recursive: true, mode: 0o700 })
    await expect(open(byToken(ca))).rejects.toThrow()
    rmdirSync(file('key.pem'))
    expect((await open()).id).toBe('spiffe://acme.internal/agent/planner')
  })

  it('holds its directory alone', async () => {
    await using ca = await startTestAuthority()
    await open(byToken(ca))
    expect(await codeOf(open())).toBe('STATE_IN_USE')
  })

  it('refuses a key that others may read', async () => {
    await using ca = await startTestAuthority()
    await (await open(byToken(ca))).stop()
    chmodSync(file('key.pem'), 0o644)
    expect(await codeOf(open())).toBe('STATE_PERMISSIONS')
  })

  it('refuses damaged state and leaves it as it was', async () => {
    await using ca = await startTestAuthority()
    await (await open(byToken(ca))).stop()
    writeFileSync(file('svid.pem'), 'nonsense')
    expect(await codeOf(open(byToken(ca)))).toBe('STATE_UNREADABLE')
    expect(readFileSync(file('svid.pem'), 'utf8')).toBe('nonsense')
  })

  it('refuses to start on an expired identity, and enrols again when it may', async () => {
    await using ca = await startTestAuthority()
    ca.behaviour.ttlMs = -1000
    await (await open(byToken(ca))).stop()
    expect(await codeOf(open())).toBe('SELF_EXPIRED')
    ca.behaviour.ttlMs = 3_600_000
    expect((await open(byToken(ca))).credentials.current().svid.notAfter).toBeGreaterThan(Date.now())
  })

  it('refuses another root than its own in the feed', async () => {
    await using ca = await startTestAuthority()
    const member = await open(byToken(ca))
    await ca.frame(({ type }) => type === 'ack')
    ca.send({
      type: 'delta',
      from: ca.position.epoch,
      position: { ...ca.position, epoch: ca.position.epoch + 1 },
      sentAt: 0,
      changes: [{ kind: 'bundles', bundles: [] }],
    })
    await member.log.line('feed.lost')
    expect(member.world.current().bundles.size).toBe(1)
  })
})

describe('renewal', () => {
  it('uses a new key, keeps the instance, and rotates when half the life is over', async () => {
    await using ca = await startTestAuthority()
    const clock = manualClock()
    const member = await open({ ...byToken(ca), clock })
    const before = member.credentials.current()
    const rotated: string[] = []
    member.credentials.onRotate(({ svid }) => rotated.push(svid.serial))
    await advanceUntil(clock, 10 * 60_000, () => rotated.length > 0)
    const after = member.credentials.current()
    expect(after.keyPem).not.toBe(before.keyPem)
    expect(after.svid.serial).not.toBe(before.svid.serial)
    expect(after.svid.instanceId).toBe(before.svid.instanceId)
    expect(readFileSync(file('key.pem'), 'utf8')).toBe(after.keyPem)
    expect(readFileSync(file('svid.pem'), 'utf8')).toBe(after.chainPem)
    expect(existsSync(file('key.next.pem'))).toBe(false)
  })

  it('asks again with the same key when the answer was lost, and keeps the old leaf meanwhile', async () => {
    await using ca = await startTestAuthority()
    const clock = manualClock()
    const member = await open({ ...byToken(ca), clock })
    const before = member.credentials.current().svid.serial
    ca.behaviour.loseAnswers = 1
    const renewals = () => ca.requests.filter((each) => each.path === '/v1/renew')
    await advanceUntil(clock, 60_000, () =>
      member.log.lines.some(({ event }) => event === 'identity.renewal-failed'),
    )
    expect(member.credentials.current().svid.serial).toBe(before)
    const key = readFileSync(file('key.next.pem'), 'utf8')
    await advanceUntil(clock, 1000, () => member.credentials.current().svid.serial !== before)
    expect(renewals()).toHaveLength(2)
    expect(member.credentials.current().keyPem).toBe(key)
  })

  it('finishes a rotation that was interrupted before the next key became the key', async () => {
    await using ca = await startTestAuthority()
    const clock = manualClock()
    const member = await open({ ...byToken(ca), clock })
    const oldKey = readFileSync(file('key.pem'), 'utf8')
    let rotated = false
    member.credentials.onRotate(() => {
      rotated = true
    })
    await advanceUntil(clock, 10 * 60_000, () => rotated)
    await member.stop()
    const newKey = readFileSync(file('key.pem'), 'utf8')
    writeFileSync(file('key.next.pem'), newKey, { mode: 0o600 })
    writeFileSync(file('key.pem'), oldKey, { mode: 0o600 })
    const again = await open()
    expect(again.credentials.current().keyPem).toBe(newKey)
    expect(readFileSync(file('key.pem'), 'utf8')).toBe(newKey)
    expect(existsSync(file('key.next.pem'))).toBe(false)
  })

  it('renews at once when a crash left the date of the next certificate beside this one', async () => {
    await using ca = await startTestAuthority()
    await (await open(byToken(ca))).stop()
    const [oldSvid, oldKey] = [readFileSync(file('svid.pem')), readFileSync(file('key.pem'))]
    const clock = manualClock()
    const member = await open({ clock })
    const before = member.credentials.current().svid.serial
    await advanceUntil(clock, 10 * 60_000, () => member.credentials.current().svid.serial !== before)
    await member.stop()
    // instance.json is written first, and was all that was
    writeFileSync(file('svid.pem'), oldSvid)
    writeFileSync(file('key.pem'), oldKey)
    const again = await open()
    await until('renewed', () => again.credentials.current().svid.serial !== before)
  })

  it('renews soon after a sleep in which only the wall clock went on', async () => {
    await using ca = await startTestAuthority()
    const clock = manualClock()
    const member = await open({ ...byToken(ca), clock })
    const before = member.credentials.current().svid.serial
    await ca.frame(({ type }) => type === 'ack')
    clock.setWall(clock.now() + 13 * 3_600_000)
    clock.advance(30_000)
    await until('renewed', () => member.credentials.current().svid.serial !== before)
  })

  it('learns from a refused renewal that it was revoked', async () => {
    await using ca = await startTestAuthority()
    const clock = manualClock()
    const member = await open({ ...byToken(ca), clock })
    await ca.frame(({ type }) => type === 'ack')
    expect(member.world.selfRevoked).toBe(false)
    ca.behaviour.refuseWith = { status: 403, code: 'AGENT_REVOKED' }
    await advanceUntil(clock, 10 * 60_000, () => member.world.selfRevoked)
    await member.stop()
    expect(await codeOf(open())).toBe('SELF_REVOKED')
    ca.behaviour.refuseWith = undefined
    const again = await open(byToken(ca))
    expect(again.world.selfRevoked).toBe(false)
    expect(again.instanceId).not.toBe(member.instanceId)
  })
})
