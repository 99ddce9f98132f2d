import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { initCa } from '../../ca/init.js'
import { type CaOptions, type RunningCa, serveCa } from '../../ca/main.js'
import { systemClock } from '../../host/clock.js'
import { openLifecycle } from '../../host/lifecycle.js'
import { READ_CAN_ANSWER, READ_STATUS } from '../../mesh/wire/admin.js'
import { memoryLog } from '../support/memory-log.js'
import { answerOf, codeOf, PASSPHRASES, startCa, TRUST_DOMAIN } from '../support/running-ca.js'

const code = (name: string): unknown => expect.objectContaining({ code: name })

const serve = (home: string, changes: Partial<CaOptions> = {}): Promise<RunningCa> =>
  serveCa({
    home,
    listen: '127.0.0.1',
    port: 0,
    adminPort: null,
    passphrase: PASSPHRASES.issuing,
    dev: true,
    leafTtlMs: 86_400_000,
    clock: systemClock,
    log: memoryLog(),
    lifecycle: openLifecycle(),
    ...changes,
  })

const init = (home: string, dev = true): ReturnType<typeof initCa> =>
  initCa({
    home,
    trustDomain: TRUST_DOMAIN,
    address: '127.0.0.1',
    dev,
    passphrases: PASSPHRASES,
    tokens: null,
    clock: systemClock,
  })

async function inHome(work: (home: string) => Promise<void>): Promise<void> {
  const home = mkdtempSync(path.join(tmpdir(), 'tca-'))
  try {
    await work(home)
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
}

describe('init', () => {
  it('writes secrets for the owner alone, and never twice', () =>
    inHome(async (home) => {
      const { dir, rootFingerprint } = await init(home)
      expect(rootFingerprint).toMatch(/^[0-9a-f]{64}$/)
      expect(statSync(dir).mode & 0o777).toBe(0o700)
      for (const name of ['root.key.pem', 'issuing.key.pem', 'ca.db', 'passphrase'])
        expect(statSync(path.join(dir, name)).mode & 0o777, name).toBe(0o600)
      await expect(init(home)).rejects.toEqual(code('CONFIG_EXISTS'))
    }))

  it('leaves nothing behind when it fails, and no passphrase without dev', () =>
    inHome(async (home) => {
      const passphrases = { root: '', issuing: 'x' }
      await expect(
        initCa({
          home,
          trustDomain: TRUST_DOMAIN,
          address: '127.0.0.1',
          dev: false,
          passphrases,
          tokens: null,
          clock: systemClock,
        }),
      ).rejects.toEqual(code('PASSPHRASE_MISSING'))
      expect(existsSync(path.join(home, 'ca'))).toBe(false)
      await init(home, false)
      expect(existsSync(path.join(home, 'ca', 'passphrase'))).toBe(false)
      await (await serve(home, { dev: false })).close()
    }))
})

describe('serve', () => {
  it('stops with a clear code when it cannot, and leaves the home usable', () =>
    inHome(async (home) => {
      await expect(serve(home)).rejects.toEqual(code('CONFIG_MISSING'))
      await init(home)
      await expect(serve(home, { dev: false })).rejects.toEqual(code('DEV_ROOT'))
      await expect(serve(home, { passphrase: 'wrong' })).rejects.toEqual(code('PASSPHRASE_WRONG'))
      const first = await serve(home)
      await expect(serve(home)).rejects.toEqual(code('STATE_IN_USE'))
      await inHome(async (other) => {
        await init(other)
        await expect(serve(other, { port: first.port })).rejects.toEqual(code('PORT_BUSY'))
        await (await serve(other)).close()
      })
      await first.close()
      await first.close()
      await (await serve(home)).close()
    }))

  it.each([0o755, 0o710, 0o707])(
    'does not start from a directory of mode %o: keys and socket are in it',
    (mode) =>
      inHome(async (home) => {
        const { dir } = await init(home)
        chmodSync(dir, mode)
        await expect(serve(home)).rejects.toEqual(code('STATE_PERMISSIONS'))
        expect(existsSync(path.join(dir, 'admin.sock'))).toBe(false)
        chmodSync(dir, 0o700)
        await (await serve(home)).close()
      }),
  )

  it('names what is damaged, and leaves it as it was', () =>
    inHome(async (home) => {
      const { dir } = await init(home)
      await (await serve(home)).close()
      const damages: [file: string, damage: (whole: Buffer) => Buffer | null, wanted: string][] = [
        ['ca.db', () => null, 'STATE_UNREADABLE'],
        ['ca.db', () => Buffer.alloc(0), 'STATE_UNREADABLE'],
        ['ca.db', (whole) => whole.subarray(0, whole.length / 2), 'STATE_UNREADABLE'],
        [
          'ca.db',
          (whole) => Buffer.concat([whole.subarray(0, 8192), Buffer.alloc(whole.length - 8192, 7)]),
          'STATE_UNREADABLE',
        ],
        ['root.pem', () => null, 'CONFIG_MISSING'],
        ['root.pem', (whole) => whole.subarray(0, 100), 'STATE_UNREADABLE'],
        ['issuing.pem', () => Buffer.alloc(0), 'STATE_UNREADABLE'],
        ['issuing.pem', (whole) => whole.subarray(0, 300), 'STATE_UNREADABLE'],
        ['issuing.key.pem', (whole) => whole.subarray(0, 100), 'STATE_UNREADABLE'],
        ['issuing.key.pem', () => null, 'CA_KEY_MISSING'],
      ]
      for (const [name, damage, wanted] of damages) {
        const file = path.join(dir, name)
        const whole = readFileSync(file)
        const damaged = damage(whole)
        if (damaged === null) rmSync(file)
        else writeFileSync(file, damaged)
        await expect(serve(home), name).rejects.toEqual(code(wanted))
        if (damaged === null) expect(existsSync(file)).toBe(false)
        else expect(readFileSync(file).equals(damaged), name).toBe(true)
        writeFileSync(file, whole, { mode: 0o600 })
      }
      await (await serve(home)).close()
    }))

  it('replaces the socket and the lock that a dead CA left', () =>
    inHome(async (home) => {
      await init(home)
      writeFileSync(path.join(home, 'ca', 'admin.sock'), '')
      writeFileSync(path.join(home, 'ca', 'lock'), '999999999 1\n')
      const running = await serve(home)
      expect(statSync(running.adminSocket).mode & 0o777).toBe(0o600)
      await running.close()
    }))

  it('serves health and metrics on loopback, for GET only', () =>
    inHome(async (home) => {
      await init(home)
      const running = await serve(home, { adminPort: 0 })
      const base = `http://127.0.0.1:${running.adminPort}`
      for (const where of ['/healthz', '/readyz']) expect((await fetch(base + where)).status).toBe(200)
      expect(await (await fetch(`${base}/metrics`)).text()).toContain('troth_ca_epoch 0')
      expect((await fetch(`${base}/healthz`, { method: 'POST' })).status).toBe(405)
      expect((await fetch(`${base}/metrics`, { headers: { origin: 'http://a.page' } })).status).toBe(403)
      await running.close()
    }))
})

describe('the admin wire', () => {
  it('carries a new address into tokens, status and the server certificate', async () => {
    await using ca = await startCa()
    const reply = await ca.admin('PUT', '/v1/address', { host: '127.0.0.9' })
    expect(answerOf(reply, READ_STATUS).address).toBe(`127.0.0.9:${ca.running.port}`)
    expect(codeOf(await ca.admin('PUT', '/v1/address', { host: 'a b' }))).toBe('CONFIG_INVALID')
    const { enrolment } = await ca.enrol('planner')
    expect(enrolment.caAddress).toBe(`127.0.0.9:${ca.running.port}`)
  })

  it('answers can with the decision that a sidecar would make', async () => {
    await using ca = await startCa()
    const ask = async (path: string): Promise<unknown> => {
      const reply = await ca.admin('POST', '/v1/can', { from: 'planner', to: 'tickets', method: 'GET', path })
      return codeOf(reply) ?? answerOf(reply, READ_CAN_ANSWER)
    }
    expect(await ask('/tickets/1')).toBe('POLICY_NO_SERVICE')
    await ca.admin('PUT', '/v1/policy', {
      yaml: 'version: 1\nagents:\n  - id: agent/planner\n    scopes: [tickets:read]\nservices:\n  - id: agent/tickets\n    operations:\n      - match: { method: GET, path: /tickets/** }\n        scope: tickets:read\n',
    })
    const reply = await ca.admin('POST', '/v1/can', {
      from: 'planner',
      to: 'tickets',
      method: 'GET',
      path: '/tickets/1',
    })
    expect(answerOf(reply, READ_CAN_ANSWER)).toMatchObject({
      decision: 'permit',
      code: 'OK',
      scope: 'tickets:read',
    })
    expect(await ask('/tickets/../admin')).toBe('CALL_PATH_REFUSED')
  })

  it('refuses a name that is registered, and sets what is new of it', async () => {
    await using ca = await startCa()
    expect((await ca.admin('POST', '/v1/agents', { name: 'planner' })).status).toBe(201)
    expect(codeOf(await ca.admin('POST', '/v1/agents', { name: 'planner' }))).toBe('AGENT_EXISTS')
    expect((await ca.admin('POST', '/v1/agents', { name: 'planner', ttlSeconds: 900 })).json).toMatchObject({
      ttlSeconds: 900,
    })
    expect(codeOf(await ca.admin('POST', '/v1/agents', { name: 'No' }))).toBe('WIRE_MALFORMED')
    expect(codeOf(await ca.admin('POST', '/v1/agents', { name: 'x', ttlSeconds: 0 }))).toBe('WIRE_MALFORMED')
    expect(codeOf(await ca.admin('GET', '/v1/agents/nobody'))).toBe('AGENT_UNKNOWN')
    expect(codeOf(await ca.admin('GET', '/v1/certs/ab'))).toBe('CERT_UNKNOWN')
    expect(codeOf(await ca.admin('GET', '/v1/policy'))).toBe('POLICY_NONE')
    expect(codeOf(await ca.admin('POST', '/v1/revocations', {}))).toBe('WIRE_MALFORMED')
  })

  it('gives lives of under fifteen minutes only with a development root', async () => {
    await using ca = await startCa({ dev: false })
    const short = { name: 'planner', ttlSeconds: 899 }
    expect(codeOf(await ca.admin('POST', '/v1/agents', short))).toBe('AGENT_TTL_TOO_SHORT')
    await using dev = await startCa({ dev: true })
    await dev.admin('POST', '/v1/agents', { name: 'planner', ttlSeconds: 10 })
    const { leaf, enrolment } = await dev.enrol('planner')
    const leftMs = Date.parse(leaf.validTo) - Date.now()
    expect(leftMs).toBeGreaterThan(5_000)
    expect(leftMs).toBeLessThanOrEqual(10_000)
    expect(enrolment.renewAfterSeconds).toBeLessThanOrEqual(6)
  })
})
