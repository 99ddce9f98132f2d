import { once } from 'node:events'
import type { TLSSocket } from 'node:tls'
import { expect, it } from 'vitest'
import { issueLeaf } from '../../certs-dev/hierarchy.js'
import type { Identity } from '../../member/identity/credentials.js'
import { H2 } from '../../sidecar/http/stream-error.js'
import { FRAME } from '../../sidecar/http2/frames.js'
import { DOOR_LIMITS } from '../../sidecar/parts.js'
import { codeOf, END_HEADERS, headers, PREFACE, reset, SETTINGS_ACK, settings } from '../support/http2-raw.js'
import { heldBytes } from '../support/memory.js'
import { connectPlain, connectTls, request, sendRaw, statusOf } from '../support/raw-http.js'
import { head, openAttacker, SIEGE_POLICY } from '../support/siege.js'
import { startApp, type TestApp } from '../support/sse.js'
import { identityOf, startMesh, type TestMesh, type TestSidecar } from '../support/start-mesh.js'

const leafOf = async (mesh: TestMesh, name: string): Promise<Identity> =>
  identityOf(await issueLeaf(mesh.hierarchy, mesh.id(name)))

const open = (mesh: TestMesh, { ports }: TestSidecar, who: Identity, protocol: string): Promise<TLSSocket> =>
  connectTls(ports.ingress, who, {
    ca: mesh.hierarchy.rootPem,
    servername: 'tickets.mesh',
    ALPNProtocols: [protocol],
  })

const GET = 'GET /tickets/1 HTTP/1.1\r\nHost: tickets.mesh\r\nConnection: close\r\n\r\n'

it('connections beyond the share of one identity are turned away, whatever certificates it shows; others come in', async () => {
  await using app = await startApp()
  await using mesh = await startMesh()
  const tickets = await mesh.start('tickets', {
    app: app.place,
    doors: { ...DOOR_LIMITS, maxConnectionsOfPeer: 2 },
  })
  const held = [
    await open(mesh, tickets, await leafOf(mesh, 'planner'), 'http/1.1'),
    await open(mesh, tickets, await leafOf(mesh, 'planner'), 'http/1.1'),
  ]
  const planner = await leafOf(mesh, 'planner')
  const refused = await sendRaw(await open(mesh, tickets, planner, 'http/1.1'), GET)
  expect(refused).toContain('troth-call: v=1; denied=PEER_CONNECTIONS_EXCEEDED')
  expect(await tickets.records.refusal()).toMatchObject({
    reason: 'PEER_CONNECTIONS_EXCEEDED',
    peer: { id: mesh.id('planner') },
  })
  const other = await sendRaw(await open(mesh, tickets, await leafOf(mesh, 'other'), 'http/1.1'), GET)
  expect(statusOf(other)).toBe(403)
  expect(tickets.records.decisions).toHaveLength(1)
  const [first] = held
  first?.destroy()
  const answered = await sendRaw(await untilAdmitted(() => open(mesh, tickets, planner, 'http/1.1')), GET)
  expect(statusOf(answered)).toBe(200)
})

/** The place of a connection is free when its end has arrived at the door. */
async function untilAdmitted(connect: () => Promise<TLSSocket>): Promise<TLSSocket> {
  for (;;) {
    const socket = await connect()
    const isRefused = await Promise.race([
      once(socket, 'data').then(() => true),
      new Promise<false>((resolve) => setTimeout(resolve, 50, false)),
    ])
    if (!isRefused) return socket
    socket.destroy()
  }
}

const PIECE_BYTES = 200_000

/** An app whose answers are whole at once, and of no declared length. */
const startBulk = (): Promise<TestApp> =>
  startApp((_request, response) => {
    response.write(Buffer.alloc(PIECE_BYTES, 'a'))
    response.end()
  })

it('answers that a caller with a valid certificate never reads are held to a bound, however many it asks for', async () => {
  await using app = await startBulk()
  await using mesh = await startMesh()
  const tickets = await mesh.start('tickets', { app: app.place })
  const planner = await leafOf(mesh, 'planner')
  const before = heldBytes()
  const sockets: TLSSocket[] = []
  const streams = 800
  for (let nth = 0; nth < 2; nth++) {
    const socket = await open(mesh, tickets, planner, 'h2')
    sockets.push(socket.on('error', () => undefined).resume())
    // a window of 0: not a byte of body may leave
    socket.write(Buffer.concat([PREFACE, settings([4, 0]), SETTINGS_ACK]))
    for (let id = 1; id < 2 * streams; id += 2)
      socket.write(
        headers(id, [
          [':method', 'GET'],
          [':scheme', 'https'],
          [':path', '/tickets/1'],
          [':authority', 'tickets.mesh'],
        ]),
      )
  }
  // all that the bound does not allow ends
  await tickets.records.end(2 * streams - Math.ceil(64e6 / PIECE_BYTES) - 100)
  expect(heldBytes() - before).toBeLessThan(150e6)
  expect(tickets.records.ends[0]).toMatchObject({ outcome: 'failed', reason: 'CALL_UNREAD', status: 200 })
  for (const socket of sockets) socket.destroy()
  await tickets.records.end(2 * streams - 1)
  await tickets.sidecar.drain()
}, 20_000)

it('answers that a local client has not read when it leaves take nothing from the connection to the callee', async () => {
  await using app = await startBulk()
  await using mesh = await startMesh()
  const tickets = await mesh.start('tickets', { app: app.place })
  const planner = await mesh.start('planner')
  const streams = 60
  for (let round = 1; round <= 2; round++) {
    const socket = await connectPlain(planner.ports.egress)
    socket.on('error', () => undefined).resume()
    socket.write(Buffer.concat([PREFACE, settings([4, 0]), SETTINGS_ACK]))
    for (let id = 1; id < 2 * streams; id += 2)
      socket.write(
        headers(id, [
          [':method', 'GET'],
          [':scheme', 'http'],
          [':path', '/tickets/1'],
          [':authority', 'tickets.mesh'],
          ['proxy-authorization', `Bearer ${planner.credential}`],
        ]),
      )
    // the callee has said everything
    await tickets.records.end(round * streams + (round - 1) - 1)
    await request(`${planner.urlOf('tickets')}/elsewhere`)
    socket.destroy()
    await planner.records.end(round * (streams + 1) - 1)
  }
  const answer = await request(`${planner.urlOf('tickets')}/tickets/1`)
  expect(answer.body).toHaveLength(PIECE_BYTES)
})

it('calls beyond the share of one identity are refused at their head, over whichever connections they come; others are served', async () => {
  await using app = await startApp(({ method }, response) => {
    if (method === 'GET') response.end('ok')
  })
  await using mesh = await startMesh(SIEGE_POLICY)
  const tickets = await mesh.start('tickets', {
    app: app.place,
    doors: { ...DOOR_LIMITS, maxCallsOfPeer: 20 },
  })
  const planner = await mesh.start('planner')
  const mallory = await leafOf(mesh, 'mallory')
  const attackers = [
    await openAttacker(mesh, { tickets }, mallory),
    await openAttacker(mesh, { tickets }, mallory),
  ]
  for (const attacker of attackers) {
    for (let id = 1; id < 30; id += 2) attacker.send(headers(id, head('POST'), END_HEADERS))
    await attacker.sendAndKnow()
  }
  const refused = attackers.flatMap(({ frames }) => frames.filter(({ type }) => type === FRAME.RST_STREAM))
  expect(refused.map(codeOf)).toEqual(Array(10).fill(H2.REFUSED_STREAM))
  expect(tickets.records.refusals.map(({ reason, peer }) => [reason, peer.id])).toEqual(
    Array(10).fill(['PEER_CALLS_EXCEEDED', mesh.id('mallory')]),
  )
  expect((await request(`${planner.urlOf('tickets')}/tickets/1`)).status).toBe(200)
  // what has ended makes room
  const [first, second] = attackers
  for (let id = 1; id < 30; id += 2) first?.send(reset(id, H2.CANCEL))
  await first?.sendAndKnow()
  second?.send(headers(101, head('GET')))
  await second?.until((frames) =>
    frames.some(({ streamId, type }) => streamId === 101 && type === FRAME.DATA),
  )
  for (const attacker of attackers) attacker.destroy()
})
