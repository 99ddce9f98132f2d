import { once } from 'node:events'
import net from 'node:net'
import { describe, expect, it } from 'vitest'
import { DOOR_LIMITS } from '../../sidecar/parts.js'
import { codeOf, connectPlain, connectTls, request, sendRaw, statusOf } from '../support/raw-http.js'
import { startApp } from '../support/sse.js'
import { startMesh } from '../support/start-mesh.js'

const SHORT = { ...DOOR_LIMITS, headMs: 100 }
const FEW = { ...DOOR_LIMITS, maxConnections: 2 }

describe('a client that is too slow', () => {
  it('with its head is told so at the egress, recorded, and gone', async () => {
    await using mesh = await startMesh()
    const planner = await mesh.start('planner', { doors: SHORT })
    const answer = await sendRaw(await connectPlain(planner.ports.egress), 'GET /@tickets/1 HT')
    expect([statusOf(answer), codeOf(answer)]).toEqual([408, 'CALL_TIMEOUT'])
    expect(await planner.records.refusal()).toMatchObject({ direction: 'egress', reason: 'CALL_TIMEOUT' })
  })

  it('with its head is told so at the ingress, and recorded under its name', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place, doors: SHORT })
    const planner = await mesh.start('planner')
    const socket = await connectTls(tickets.ports.ingress, planner.credentials.current(), {
      ca: mesh.hierarchy.rootPem,
      servername: 'tickets.mesh',
    })
    const answer = await sendRaw(socket, 'GET /tickets/1 HTTP/1.1\r\nhost: tick')
    expect([statusOf(answer), codeOf(answer)]).toEqual([408, 'CALL_TIMEOUT'])
    expect(await tickets.records.refusal()).toMatchObject({
      direction: 'ingress',
      reason: 'CALL_TIMEOUT',
      peer: { id: planner.id },
    })
    expect(app.seen).toEqual([])
  })

  it('with its TLS handshake is gone, and recorded as nobody', async () => {
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { settings: { connectTimeoutMs: 100 } })
    const socket = await connectPlain(tickets.ports.ingress)
    socket.on('error', () => undefined)
    // the head of a TLS record, and no more
    socket.write(Buffer.from([0x16, 0x03, 0x01]))
    await once(socket.resume(), 'close')
    expect(await tickets.records.refusal()).toMatchObject({
      reason: 'PEER_HANDSHAKE_FAILED',
      peer: { id: null },
    })
  })

  it('of the callee ends as CALLEE_UNREACHABLE: a server that takes the connection and says nothing', async () => {
    const silent = net.createServer(() => undefined)
    await new Promise<void>((resolve) => void silent.listen(0, '127.0.0.1', resolve))
    const { port } = silent.address() as net.AddressInfo
    await using mesh = await startMesh()
    const planner = await mesh.start('planner', { settings: { connectTimeoutMs: 100 } })
    const id = mesh.id('tickets')
    const place = { id, instanceId: '0196c1d2-0000-4000-8000-000000000000', host: '127.0.0.1', port }
    mesh.change(() => ({ endpoints: new Map([[id, [place]]]) }))
    const answer = await request(`${planner.urlOf('tickets')}/tickets/1`)
    expect([answer.status, codeOf(answer.body.toString())]).toEqual([502, 'CALLEE_UNREACHABLE'])
    silent.close()
  })
})

describe('connections beyond what a door bears', () => {
  it('are closed unread at the egress, and there is room again when others end', async () => {
    await using mesh = await startMesh()
    const planner = await mesh.start('planner', { doors: FEW })
    const held = [await connectPlain(planner.ports.egress), await connectPlain(planner.ports.egress)]
    expect(await sendRaw(await connectPlain(planner.ports.egress), 'GET / HTTP/1.1\r\n\r\n')).toBe('')
    for (const socket of held) {
      socket.destroy()
      await once(socket, 'close')
    }
    await expect
      .poll(() =>
        request(planner.urlOf('nobody')).then(
          ({ status }) => status,
          () => 0,
        ),
      )
      .toBe(404)
  })

  it('are closed unread at the ingress', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place, doors: FEW })
    const planner = await mesh.start('planner')
    const held = [await connectPlain(tickets.ports.ingress), await connectPlain(tickets.ports.ingress)]
    const answer = await request(`${planner.urlOf('tickets')}/tickets/1`)
    expect([answer.status, codeOf(answer.body.toString())]).toEqual([502, 'CALLEE_UNREACHABLE'])
    for (const socket of held) socket.destroy()
    await expect
      .poll(() => request(`${planner.urlOf('tickets')}/tickets/1`).then(({ status }) => status))
      .toBe(200)
  })
})
