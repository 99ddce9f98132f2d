import { once } from 'node:events'
import type { TLSSocket } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { issueLeaf } from '../../certs-dev/hierarchy.js'
import { revocationsOf } from '../../mesh/revocation.js'
import type { Svid } from '../../mesh/svid.js'
import { WITNESS_ADMITTED, WITNESS_ALPN } from '../../mesh/wire/witness.js'
import { type ManualClock, manualClock } from '../support/manual-clock.js'
import { begin, connectTls, request } from '../support/raw-http.js'
import { until } from '../support/real-sidecars.js'
import { type EventReader, readEvents, startApp, type TestApp } from '../support/sse.js'
import { identityOf, startMesh, type TestMesh, type TestSidecar } from '../support/start-mesh.js'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

interface StreamApp extends TestApp {
  /** Ends the stream that runs. */
  finish(): void
}

async function openStreamApp(): Promise<StreamApp> {
  let finish = (): void => undefined
  const app = await startApp((incoming, response) => {
    if (incoming.url !== '/tickets/events') {
      response.end('ok')
      return
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: first\n\n')
    finish = () => void response.end('data: last\n\n')
  })
  return { ...app, finish: () => finish() }
}

interface Streaming {
  readonly clock: ManualClock
  readonly tickets: TestSidecar
  readonly planner: TestSidecar
  readonly events: EventReader
}

/** A lone stream; each leaf lasts so many hours. */
async function startStream(
  mesh: TestMesh,
  app: TestApp,
  { planner: callerHours, tickets: calleeHours }: { planner: number; tickets: number },
): Promise<Streaming> {
  const clock = manualClock()
  const leaf = (hours: number) => ({ leaf: { notAfter: clock.now() + hours * HOUR } })
  const tickets = await mesh.start('tickets', { app: app.place, clock, ...leaf(calleeHours) })
  const planner = await mesh.start('planner', { clock, ...leaf(callerHours) })
  const events = readEvents(await begin(`${planner.urlOf('tickets')}/tickets/events`))
  await events.next()
  return { clock, tickets, planner, events }
}

async function renew(mesh: TestMesh, sidecar: TestSidecar, notAfter: number): Promise<Svid> {
  const { instanceId } = sidecar.credentials.current().svid
  sidecar.credentials.rotate(
    await issueLeaf(mesh.hierarchy, sidecar.id, { instanceId: instanceId ?? '', notAfter }),
  )
  return sidecar.credentials.current().svid
}

/** Goes to where the caller seeks a witness for what runs under this leaf: a tenth of its life before its end, or 15 min. */
function advanceToSearch(clock: ManualClock, { notBefore, notAfter }: Svid): void {
  clock.advance(notAfter - Math.min(15 * MINUTE, (notAfter - notBefore) / 10) - clock.now())
}

/** Waits for the nth witness of the caller, from 1. */
const witnessed = (caller: TestSidecar, nth: number): Promise<true> =>
  until(`witness ${nth}`, () =>
    Promise.resolve(
      caller.log.lines.filter(({ event }) => event === 'egress.witness').length >= nth || undefined,
    ),
  )

const connectionsOf = async ({ ports }: TestSidecar): Promise<string> => {
  const { body } = await request(`http://127.0.0.1:${ports.admin}/metrics`)
  return /troth_connections\{direction="ingress"\} (\d+)/.exec(body.toString())?.[1] ?? ''
}

describe('a lone stream', () => {
  it('outlives every leaf of a caller that renews', async () => {
    await using app = await openStreamApp()
    await using mesh = await startMesh()
    const { clock, tickets, planner, events } = await startStream(mesh, app, { planner: 1, tickets: 24 })
    const leaves = [planner.credentials.current().svid]
    for (const nth of [1, 2, 3]) {
      clock.advance(10 * MINUTE)
      const svid = await renew(mesh, planner, clock.now() + 3 * HOUR)
      advanceToSearch(clock, leaves.at(-1) ?? svid)
      await witnessed(planner, nth)
      leaves.push(svid)
    }
    clock.advance(2 * HOUR)
    expect(tickets.records.ends).toEqual([])
    app.finish()
    expect(await events.next()).toBe('last')
    expect(await tickets.records.end()).toMatchObject({ outcome: 'completed', reason: 'OK' })
    await until('no witness', async () => ((await connectionsOf(tickets)) === '0' ? true : undefined))
  })

  it('outlives the leaf of a callee that renews', async () => {
    await using app = await openStreamApp()
    await using mesh = await startMesh()
    const { clock, tickets, planner, events } = await startStream(mesh, app, { planner: 24, tickets: 1 })
    const first = tickets.credentials.current().svid
    await renew(mesh, tickets, clock.now() + 3 * HOUR)
    advanceToSearch(clock, first)
    await witnessed(planner, 1)
    clock.advance(HOUR)
    expect(planner.records.ends).toEqual([])
    app.finish()
    expect(await events.next()).toBe('last')
  })

  it('is cut with PEER_EXPIRED when the callee does not renew', async () => {
    await using app = await openStreamApp()
    await using mesh = await startMesh()
    const { clock, tickets, planner, events } = await startStream(mesh, app, { planner: 24, tickets: 1 })
    advanceToSearch(clock, tickets.credentials.current().svid)
    await witnessed(planner, 1)
    clock.advance(7 * MINUTE)
    expect(await events.over).toBe('broken')
    expect(await planner.records.end()).toMatchObject({ outcome: 'cut', reason: 'PEER_EXPIRED' })
  })

  it('finds the renewed leaf of a callee that renews late', async () => {
    await using app = await openStreamApp()
    await using mesh = await startMesh()
    const { clock, tickets, planner, events } = await startStream(mesh, app, { planner: 24, tickets: 1 })
    advanceToSearch(clock, tickets.credentials.current().svid)
    await witnessed(planner, 1)
    await renew(mesh, tickets, clock.now() + 3 * HOUR)
    // a tenth of the search: 39 s for a leaf of 65 min, more when the mesh was made seconds before the leaf; the dial has 5 s
    clock.advance(40_000)
    await witnessed(planner, 2)
    clock.advance(HOUR)
    expect(planner.records.ends).toEqual([])
    app.finish()
    expect(await events.next()).toBe('last')
  })

  it('waits with a witness until its own late renewal', async () => {
    await using app = await openStreamApp()
    await using mesh = await startMesh()
    const { clock, tickets, planner, events } = await startStream(mesh, app, { planner: 1, tickets: 24 })
    clock.advance(59 * MINUTE)
    expect(await connectionsOf(tickets)).toBe('1')
    await renew(mesh, planner, clock.now() + 3 * HOUR)
    await witnessed(planner, 1)
    clock.advance(HOUR)
    expect(tickets.records.ends).toEqual([])
    app.finish()
    expect(await events.next()).toBe('last')
  })

  it('is cut with PEER_REVOKED when the certificate that it lives on is revoked', async () => {
    await using app = await openStreamApp()
    await using mesh = await startMesh()
    const { clock, tickets, planner, events } = await startStream(mesh, app, { planner: 1, tickets: 24 })
    const first = planner.credentials.current().svid
    await renew(mesh, planner, clock.now() + 3 * HOUR)
    advanceToSearch(clock, first)
    await witnessed(planner, 1)
    clock.advance(10 * MINUTE)
    const { issuer, serial, id, notAfter } = planner.credentials.current().svid
    const revocations = revocationsOf([], [{ issuer, serial, id, expiresAt: notAfter }])
    expect(tickets.world.replace({ revocations })).toBe(2)
    expect(await events.over).toBe('broken')
    expect(await tickets.records.end()).toMatchObject({ outcome: 'cut', reason: 'PEER_REVOKED' })
  })

  it('keeps one witness, however many streams there are', async () => {
    await using app = await openStreamApp()
    await using mesh = await startMesh()
    const { clock, tickets, planner } = await startStream(mesh, app, { planner: 1, tickets: 24 })
    const more = await Promise.all(
      Array.from({ length: 5 }, () => begin(`${planner.urlOf('tickets')}/tickets/events`)),
    )
    const first = planner.credentials.current().svid
    await renew(mesh, planner, clock.now() + 3 * HOUR)
    advanceToSearch(clock, first)
    await witnessed(planner, 1)
    // one that the streams share, and the witness; the one for new calls had none, and was closed
    await expect.poll(() => connectionsOf(tickets)).toBe('2')
    for (const stream of more) stream.destroy()
  })
})

describe('a kept connection', () => {
  it('is not used again when its callee has renewed: new calls find the next leaf', async () => {
    await using app = await openStreamApp()
    await using mesh = await startMesh()
    const clock = manualClock()
    const tickets = await mesh.start('tickets', {
      app: app.place,
      clock,
      leaf: { notAfter: clock.now() + HOUR },
    })
    const planner = await mesh.start('planner', { clock })
    const first = tickets.credentials.current().svid
    await request(`${planner.urlOf('tickets')}/tickets/1`)
    const second = await renew(mesh, tickets, clock.now() + 3 * HOUR)
    await expect.poll(() => connectionsOf(tickets)).toBe('0')
    for (const path of ['2', '3']) await request(`${planner.urlOf('tickets')}/tickets/${path}`)
    const serials = planner.records.decisions.map(({ callee }) => callee.serial)
    expect(serials).toEqual([first.serial, second.serial, second.serial])
  })
})

describe('a witness connection at the ingress', () => {
  const openWitness = async (mesh: TestMesh, port: number, as: TestSidecar): Promise<TLSSocket> => {
    const socket = await connectTls(port, as.credentials.current(), {
      ca: mesh.hierarchy.rootPem,
      servername: 'tickets.mesh',
      ALPNProtocols: [WITNESS_ALPN],
    })
    socket.on('error', () => undefined)
    return socket
  }

  it('is admitted by the one judge, and carries no call', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    const socket = await openWitness(mesh, tickets.ports.ingress, planner)
    const [said] = (await once(socket, 'data')) as [Buffer]
    expect(said.toString()).toBe(WITNESS_ADMITTED)
    socket.write('GET /tickets/1 HTTP/1.1\r\nhost: tickets.mesh\r\n\r\n')
    await once(socket, 'close')
    expect(app.seen).toEqual([])
    expect(tickets.records.records).toEqual([])
  })

  it('of a revoked caller is refused', async () => {
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets')
    const planner = await mesh.start('planner')
    mesh.revoke('planner')
    const socket = await openWitness(mesh, tickets.ports.ingress, planner)
    const [said] = (await once(socket, 'data')) as [Buffer]
    expect(said.toString()).toContain('PEER_REVOKED')
    expect(await tickets.records.refusal()).toMatchObject({ reason: 'PEER_REVOKED' })
    socket.destroy()
  })

  it('is one of four at most for an instance: the oldest goes', async () => {
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets')
    const planner = await mesh.start('planner')
    const sockets: TLSSocket[] = []
    for (let nth = 0; nth < 5; nth += 1) {
      const socket = await openWitness(mesh, tickets.ports.ingress, planner)
      await once(socket, 'data')
      sockets.push(socket)
    }
    const [oldest, ...others] = sockets
    if (oldest?.destroyed === false) await once(oldest, 'close')
    expect(others.map(({ destroyed }) => destroyed)).toEqual([false, false, false, false])
    for (const socket of others) socket.destroy()
  })

  it('of a foreign certificate counts for that certificate alone', async () => {
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets')
    const planner = await mesh.start('planner')
    const leaf = await issueLeaf(mesh.hierarchy, planner.id, {})
    const socket = await connectTls(tickets.ports.ingress, identityOf(leaf), {
      ca: mesh.hierarchy.rootPem,
      servername: 'tickets.mesh',
      ALPNProtocols: [WITNESS_ALPN],
    })
    await once(socket, 'data')
    expect(await connectionsOf(tickets)).toBe('1')
    socket.destroy()
  })
})
