// Every wrong leaf of certs-dev against sidecars started from the CLI, in both directions: refused with its own code, and the refusal is
// in the ledger. The leaves are signed by the mesh's own issuing CA where the mistake is not the signature itself.

import http2, { type Http2SecureServer, type ServerHttp2Session } from 'node:http2'
import path from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { issueLeaf, type Leaf } from '../../certs-dev/hierarchy.js'
import { makeWrongLeaves, type WrongLeaf } from '../../certs-dev/wrong-leaves.js'
import { TLS_FLOOR } from '../../host/tls.js'
import { jsonLines, until } from '../support/cli-home.js'
import {
  type CliMesh,
  type EchoApp,
  openCliMesh,
  openEchoApp,
  POLICY,
  pushPolicy,
  type StartedSidecar,
} from '../support/cli-mesh.js'
import { hierarchyOfHome } from '../support/hierarchy-of-home.js'
import { codeOf, connectTls, problemIn, request, sendRaw, statusOf } from '../support/raw-http.js'

const GET = 'GET /tickets/1 HTTP/1.1\r\nHost: tickets.mesh\r\nConnection: close\r\n\r\n'

let mesh: CliMesh
let app: EchoApp
let tickets: StartedSidecar
let planner: StartedSidecar
let impostor: Impostor

beforeAll(async () => {
  mesh = await openCliMesh()
  app = await openEchoApp()
  impostor = await openImpostor()
  for (const name of ['planner', 'tickets']) await mesh.home.ok('agent', 'add', name)
  await pushPolicy(mesh.home, POLICY)
  // where it is reached is the operator's word: here it sends callers to the impostor
  const advertise = ['--advertise', `127.0.0.1:${impostor.port}`]
  tickets = await mesh.sidecar('tickets', ['--app', `127.0.0.1:${app.port}`, ...advertise])
  planner = await mesh.sidecar('planner')
})

afterAll(async () => {
  await mesh[Symbol.asyncDispose]()
  await app[Symbol.asyncDispose]()
  impostor.server.close()
})

/** A server that stands where the callee is awaited. */
interface Impostor {
  readonly server: Http2SecureServer
  readonly port: number
  /** From now on it presents this; what stood before is gone. */
  show(leaf: Leaf): void
  /** Connections on which it was sent as much as HTTP's first words. */
  got(): number
  /** Connections to it. */
  met(): number
}

function openImpostor(): Promise<Impostor> {
  let got = 0
  let met = 0
  const sessions = new Set<ServerHttp2Session>()
  const server = http2.createSecureServer(TLS_FLOOR)
  server.on('session', (session) => {
    sessions.add(session)
    session.on('error', () => session.destroy())
    session.once('close', () => sessions.delete(session))
    session.once('remoteSettings', () => {
      got += 1
    })
  })
  server.on('stream', (stream) => {
    stream.respond({ ':status': 200 })
    stream.end('ok')
  })
  server.on('sessionError', () => undefined)
  server.on('connection', () => {
    met += 1
  })
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      const show = ({ keyPem, chainPem }: Leaf): void => {
        server.setSecureContext({ ...TLS_FLOOR, key: keyPem, cert: chainPem })
        for (const session of sessions) session.destroy()
      }
      resolve({ server, port, show, got: () => got, met: () => met })
    })
  })
}

const toIngress = async ({ keyPem, chainPem }: Leaf): Promise<string> => {
  const { rootPem } = hierarchyOfHome(mesh.home.dir)
  const socket = await connectTls(
    tickets.ports.ingress,
    { keyPem, chainPem },
    { ca: rootPem, servername: 'tickets.mesh' },
  )
  return sendRaw(socket, GET)
}

const fromEgress = () =>
  request(`http://127.0.0.1:${planner.ports.egress}/@tickets/tickets/1`, {
    headers: { 'x-troth-local-credential': planner.credential() },
  })

/** A call that was not answered with the failure shortly before it: it dialled. */
const dialledFromEgress = () =>
  until('a dial', async () => {
    const before = impostor.met()
    const answer = await fromEgress()
    return impostor.met() > before ? answer : undefined
  })

/** Rows as `troth audit query --json` prints them, once the sidecar has written all it counted. */
const ledgerOf = async (sidecar: StartedSidecar): Promise<Record<string, unknown>[]> => {
  sidecar.running.kill('SIGTERM')
  await sidecar.running.ended
  const file = path.join(mesh.home.dir, 'agents', sidecar.name, 'ledger.db')
  return jsonLines(await mesh.home.ok('audit', 'query', '--json', '--suspicious', '--ledger', file))
}

/** How many connections were refused, by code. Refusals of one kind in ten seconds are one row. */
const refusedBy = (rows: readonly Record<string, unknown>[], direction: string): Record<string, number> =>
  countBy(
    rows
      .filter((row) => row['kind'] === 'refusal' && row['direction'] === direction)
      .map((row) => [String(row['reason']), Number(row['count'])]),
  )

const countBy = (pairs: readonly (readonly [code: string, count: number])[]): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const [code, count] of pairs) counts[code] = (counts[code] ?? 0) + count
  return counts
}

/** Where one exact identity is awaited, another kind is only another identity. */
const atEgress = ({ code }: WrongLeaf): string => (code === 'PEER_KIND_WRONG' ? 'PEER_UNEXPECTED' : code)

it('right leaves by the same key pass both judges: what is refused below is refused for its mistake', async () => {
  const hierarchy = hierarchyOfHome(mesh.home.dir)
  const answer = await toIngress(await issueLeaf(hierarchy, 'spiffe://acme.internal/agent/planner'))
  expect(statusOf(answer)).toBe(200)
  expect(app.seen.length).toBe(1)
  impostor.show(await issueLeaf(hierarchy, 'spiffe://acme.internal/agent/tickets'))
  // judged well, called, and then found to be no sidecar
  expect(problemIn(await fromEgress()).code).toBe('CALLEE_REFUSED')
  expect(impostor.got()).toBeGreaterThan(0)
})

it('every wrong leaf is refused as a callee before a byte of the call is sent, and the ledger has it', async () => {
  const wrong = await makeWrongLeaves(hierarchyOfHome(mesh.home.dir), 'tickets')
  expect(wrong.length).toBeGreaterThanOrEqual(20)
  const [met, got] = [impostor.met(), impostor.got()]
  for (const each of wrong) {
    impostor.show(each.leaf)
    expect([each.name, problemIn(await dialledFromEgress()).code]).toEqual([each.name, atEgress(each)])
  }
  expect(impostor.met() - met).toBe(wrong.length)
  expect(impostor.got()).toBe(got)

  const rows = await ledgerOf(planner)
  const expected = countBy(wrong.map((each) => [atEgress(each), 1]))
  expect(refusedBy(rows, 'egress')).toEqual(expected)
  const denied = rows.filter((row) => row['kind'] === 'call' && row['decision'] === 'deny')
  // calls that came too close behind a failure share it
  const decided = countBy(denied.map((row) => [String(row['reason']), 1]))
  expect(Object.keys(decided).toSorted()).toEqual(Object.keys(expected).toSorted())
  for (const [code, count] of Object.entries(expected)) expect(decided[code]).toBeGreaterThanOrEqual(count)
})

it('every wrong leaf is refused as a caller with its own code, and the ledger has the refusal', async () => {
  const wrong = await makeWrongLeaves(hierarchyOfHome(mesh.home.dir), 'planner')
  for (const { name, code, leaf } of wrong)
    expect([name, codeOf(await toIngress(leaf))]).toEqual([name, code])
  expect(app.seen.length).toBe(1)
  const rows = await ledgerOf(tickets)
  expect(refusedBy(rows, 'ingress')).toEqual(countBy(wrong.map(({ code }) => [code, 1])))
  // who proved nothing is not named
  const unproved = rows.filter((row) => row['reason'] === 'PEER_CHAIN_UNTRUSTED')
  expect(unproved.map((row) => row['caller'])).toEqual(unproved.map(() => null))
})
