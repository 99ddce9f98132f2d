// After a root was replaced and the old one retired: what outsiders see who know only one of the two, what the published bundle says, and
// how a member comes back that was not there.

import { execFile } from 'node:child_process'
import { copyFileSync } from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'
import { READ_AGENT, READ_TOKEN_MINTED } from '../../mesh/wire/admin.js'
import { request } from '../support/raw-http.js'
import { openSidecars, until, urlOf } from '../support/real-sidecars.js'
import { rotate, rotated, rotationOf } from '../support/rotating.js'
import { answerOf, startCa, type TestCa } from '../support/running-ca.js'
import { startApp } from '../support/sse.js'
import { POLICY } from '../support/start-mesh.js'

const READER = path.resolve(import.meta.dirname, '../e2e/verifiers/spiffe_bundle.py')

/** All that the program says. */
const run = (program: string, args: readonly string[], input = ''): Promise<string> =>
  new Promise((resolve) => {
    const child = execFile(program, args, (_error, stdout, stderr) => resolve(stdout + stderr))
    child.stdin?.end(input)
  })

interface Bundle {
  readonly sequence: number
  readonly hint: number
  readonly domains: readonly string[]
}

/** The published bundle, read by a program that knows the standard and not us. */
async function publishedBundle(ca: TestCa): Promise<Bundle> {
  const root = path.join(ca.home, 'ca/root.pem')
  const json = await run('curl', ['-sS', '--cacert', root, `https://127.0.0.1:${ca.running.port}/v1/bundle`])
  return JSON.parse(await run('python3', [READER], json)) as Bundle
}

/** Whether OpenSSL, knowing that root and no other, accepts the certificate of a door. */
async function verifies(root: string, port: number): Promise<boolean> {
  const strictly = ['-x509_strict', '-purpose', 'sslserver', '-verify_return_error']
  const said = await run('openssl', [
    ...['s_client', '-connect', `127.0.0.1:${port}`, '-CAfile', root, ...strictly],
  ])
  return said.includes('Verification: OK')
}

it('outsiders of either root verify an agent; a member that was away is told, and a token brings it back', async () => {
  await using app = await startApp((_request, response) => response.end('ticket'))
  await using ca = await startCa()
  await using sidecars = openSidecars(ca)
  for (const name of ['tickets', 'planner']) await ca.admin('POST', '/v1/agents', { name })
  await ca.admin('PUT', '/v1/policy', { yaml: POLICY })
  const tickets = await sidecars.start('tickets', { app: app.place })
  await (await sidecars.start('planner')).stop()
  const root = path.join(ca.home, 'ca/root.pem')
  const old = path.join(ca.home, 'old-root.pem')
  copyFileSync(root, old)
  const before = await publishedBundle(ca)
  expect(before).toMatchObject({ domains: ['spiffe://acme.internal'] })
  expect(before.hint).toBeGreaterThan(0)

  // suspended, it is told nothing and so not waited for; whoever rotates is told
  await ca.admin('POST', '/v1/agents/planner/suspend', {})
  // the root tells its age in whole seconds
  const second = Math.floor(Date.now() / 1000)
  await until('another second', () => Promise.resolve(Math.floor(Date.now() / 1000) > second || undefined))
  await rotate(ca, { kind: 'root', compromised: false })
  expect((await rotationOf(ca))?.leavesBehind).toEqual(['spiffe://acme.internal/agent/planner'])
  await rotated(ca)
  const after = await publishedBundle(ca)
  expect(after.domains).toEqual(['spiffe://acme.internal'])
  expect(after.sequence).toBeGreaterThan(before.sequence)

  // an ingress shows the cross certificate as long as the old root would be good; the CA's door leads to the new one alone
  expect(await verifies(old, tickets.ports.ingress)).toBe(true)
  expect(await verifies(root, tickets.ports.ingress)).toBe(true)
  expect(await verifies(old, ca.running.port)).toBe(false)
  expect(await verifies(root, ca.running.port)).toBe(true)

  const resumed = answerOf(await ca.admin('POST', '/v1/agents/planner/resume', {}), READ_AGENT)
  expect(resumed.instances.map(({ needsToken }) => needsToken)).toEqual([true])
  const back = await sidecars.start('planner')
  const health = await until('its trouble', async () => {
    const { body } = await request(`http://127.0.0.1:${back.ports.admin}/healthz`)
    return body.includes('CA_ROOT_UNKNOWN') ? body.toString() : undefined
  })
  expect(JSON.parse(health)).toMatchObject({ health: 'degraded', reasons: ['CA_ROOT_UNKNOWN'] })
  await back.stop()

  const minted = await ca.admin('POST', '/v1/tokens', { kind: 'agent', name: 'planner' })
  const { token } = answerOf(minted, READ_TOKEN_MINTED)
  const anew = await sidecars.start('planner', { enrolBy: { token } })
  await until('a call', async () =>
    (await request(`${urlOf(anew, 'tickets')}/tickets/1`)).status === 200 ? true : undefined,
  )
  const shown = answerOf(await ca.admin('GET', '/v1/agents/planner'), READ_AGENT)
  expect(shown.instances.map(({ needsToken }) => needsToken)).toEqual([true, false])
}, 30_000)
