import { X509Certificate } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'
import { splitPem } from '../../mesh/trust-bundle.js'
import type { RunningSidecar } from '../../sidecar/config.js'
import { request } from '../support/raw-http.js'
import { openSidecars, until, urlOf } from '../support/real-sidecars.js'
import { rotate, rotated } from '../support/rotating.js'
import { startCa, type TestCa } from '../support/running-ca.js'
import { startApp } from '../support/sse.js'
import { POLICY } from '../support/start-mesh.js'

/** Calls on and on, one after the other, until it is stopped. */
function keepCalling(from: RunningSidecar, callee: string): { stop(): Promise<number[]> } {
  const statuses: number[] = []
  let isOver = false
  const run = async (): Promise<void> => {
    while (!isOver) {
      const answer = await request(`${urlOf(from, callee)}/tickets/1`)
      statuses.push(answer.status)
    }
  }
  const running = run()
  return {
    stop: async () => {
      isOver = true
      await running
      return statuses
    },
  }
}

const stateOf = (ca: TestCa, name: string, file: string): string =>
  readFileSync(path.join(ca.home, 'agents', name, file), 'utf8')
const rootsOf = (ca: TestCa, name: string): string[] =>
  splitPem(stateOf(ca, name, 'bundle.pem')).map(({ fingerprint256 }) => fingerprint256)
const keysOf = (ca: TestCa): string[] =>
  readdirSync(path.join(ca.home, 'ca')).filter((name) => name.endsWith('.key.pem'))
const issuingOf = (ca: TestCa, name: string): X509Certificate => {
  const [, issuing] = splitPem(stateOf(ca, name, 'svid.pem'))
  if (issuing === undefined) throw new Error('no issuing CA in svid.pem')
  return issuing
}

for (const kind of ['issuing', 'root'] as const) {
  it(`no call fails while the ${kind} CA is replaced, and every member ends with the new one`, async () => {
    await using app = await startApp((_request, response) => response.end('ticket'))
    await using ca = await startCa()
    await using sidecars = openSidecars(ca)
    for (const name of ['tickets', 'planner']) await ca.admin('POST', '/v1/agents', { name })
    await ca.admin('PUT', '/v1/policy', { yaml: POLICY })
    await sidecars.start('tickets', { app: app.place })
    const planner = await sidecars.start('planner')
    await until('the first call', async () =>
      (await request(`${urlOf(planner, 'tickets')}/tickets/1`)).status === 200 ? true : undefined,
    )
    const before = issuingOf(ca, 'planner')

    const calls = keepCalling(planner, 'tickets')
    await rotate(ca, { kind, compromised: false })
    await rotated(ca)
    const statuses = await calls.stop()

    expect(statuses.filter((status) => status !== 200)).toEqual([])
    expect(statuses.length).toBeGreaterThan(50)
    const root = new X509Certificate(readFileSync(path.join(ca.home, 'ca', 'root.pem')))
    for (const name of ['tickets', 'planner']) {
      const issuing = issuingOf(ca, name)
      expect(issuing.fingerprint256).not.toBe(before.fingerprint256)
      expect(issuing.checkIssued(root)).toBe(true)
      expect(
        await until('the bundle', () =>
          Promise.resolve(rootsOf(ca, name).length === 1 ? rootsOf(ca, name) : undefined),
        ),
      ).toEqual([root.fingerprint256])
    }
    // an old issuing CA keeps its key for revocation lists until its last leaf has ended; below an old root there is nothing to list
    const wanted = kind === 'issuing' ? 3 : 2
    await until('the end of the old keys', () =>
      Promise.resolve(keysOf(ca).length === wanted ? true : undefined),
    )
    await ca.restart()
    expect((await request(`${urlOf(planner, 'tickets')}/tickets/1`)).status).toBe(200)
  }, 60_000)
}

it('no call fails when the root is replaced a second time at once, while the first cross certificate still lives', async () => {
  await using app = await startApp((_request, response) => response.end('ticket'))
  await using ca = await startCa()
  await using sidecars = openSidecars(ca)
  for (const name of ['tickets', 'planner']) await ca.admin('POST', '/v1/agents', { name })
  await ca.admin('PUT', '/v1/policy', { yaml: POLICY })
  await sidecars.start('tickets', { app: app.place })
  const planner = await sidecars.start('planner')
  await until('the first call', async () =>
    (await request(`${urlOf(planner, 'tickets')}/tickets/1`)).status === 200 ? true : undefined,
  )

  const calls = keepCalling(planner, 'tickets')
  for (const _round of ['first', 'second']) {
    await rotate(ca, { kind: 'root', compromised: false })
    await rotated(ca)
  }
  const statuses = await calls.stop()

  expect(statuses.filter((status) => status !== 200)).toEqual([])
  expect(statuses.length).toBeGreaterThan(50)
  const root = new X509Certificate(readFileSync(path.join(ca.home, 'ca', 'root.pem')))
  for (const name of ['tickets', 'planner']) {
    expect(issuingOf(ca, name).checkIssued(root)).toBe(true)
    expect(splitPem(stateOf(ca, name, 'svid.pem')).length).toBeLessThanOrEqual(4)
  }
}, 60_000)
