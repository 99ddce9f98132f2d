import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import { MeshError } from '../../mesh/errors.js'
import { parseAgentName } from '../../mesh/spiffe-id.js'
import { Tunnels } from '../../sidecar/egress/tunnel.js'
import { connectThrough, startOutside } from '../support/outside-host.js'
import { codeOf, connectPlain, sendRaw } from '../support/raw-http.js'
import { startApp } from '../support/sse.js'
import { startMesh, type TestSidecar } from '../support/start-mesh.js'

const connectHead = (authority: string, fields = ''): string =>
  `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${fields}\r\n`

const proof = ({ credential }: TestSidecar): string => `x-troth-local-credential: ${credential}\r\n`

describe('tunnels', () => {
  it('lead to the named host and port in no other spelling, and the refusal says what to write', async () => {
    await using host = await startOutside((socket) => socket.end())
    await using mesh = await startMesh()
    const planner = await mesh.start('planner', { settings: { egressTunnels: new Set([host.authority]) } })
    const elsewhere = [
      'example.org:443',
      `127.0.0.1:${host.port + 1}`,
      `127.0.0.1.:${host.port}`,
      `127.1:${host.port}`,
      `127.0.0.1:0${host.port}`.slice(0, 15),
      `localhost:${host.port}`,
      `[::ffff:127.0.0.1]:${host.port}`,
    ]
    for (const authority of elsewhere) {
      const answer = await sendRaw(
        await connectPlain(planner.ports.egress),
        connectHead(authority, proof(planner)),
      )
      expect([authority, codeOf(answer)]).toEqual([authority, 'CONNECT_REFUSED'])
      expect(answer).toContain(`egress.tunnels: ${authority}`)
    }
    expect(host.sockets).toEqual([])
    expect(planner.records.decisions).toEqual([])
    expect(await planner.records.refusal(elsewhere.length - 1)).toMatchObject({ reason: 'CONNECT_REFUSED' })
  })

  it('lead nowhere unless they were allowed, and never to the mesh', async () => {
    await using mesh = await startMesh()
    const planner = await mesh.start('planner')
    const named = await mesh.start('planner', { settings: { egressTunnels: new Set(['tickets.mesh:443']) } })
    for (const [sidecar, authority] of [
      [planner, 'example.org:443'],
      [planner, 'tickets.mesh:443'],
      [named, 'tickets.mesh:443'],
      [named, 'TICKETS.MESH:443'],
    ] as const) {
      const answer = await sendRaw(
        await connectPlain(sidecar.ports.egress),
        connectHead(authority, proof(sidecar)),
      )
      expect([authority, codeOf(answer)]).toEqual([authority, 'CONNECT_REFUSED'])
    }
  })

  it('are for who knows the credential, and not for pages', async () => {
    await using host = await startOutside((socket) => socket.end())
    await using mesh = await startMesh()
    const planner = await mesh.start('planner', { settings: { egressTunnels: new Set([host.authority]) } })
    for (const [fields, code] of [
      ['', 'LOCAL_CREDENTIAL_REQUIRED'],
      ['x-troth-local-credential: wrong\r\n', 'LOCAL_CREDENTIAL_REQUIRED'],
      [`${proof(planner)}origin: https://example.org\r\n`, 'BROWSER_REFUSED'],
      [`${proof(planner)}sec-fetch-site: none\r\n`, 'BROWSER_REFUSED'],
    ] as const) {
      const answer = await sendRaw(
        await connectPlain(planner.ports.egress),
        connectHead(host.authority, fields),
      )
      expect([fields, codeOf(answer)]).toEqual([fields, code])
    }
    expect(host.sockets).toEqual([])
  })

  it('are not opened at the port of one callee, least of all at an open one', async () => {
    await using host = await startOutside((socket) => socket.end())
    await using mesh = await startMesh()
    const to = [{ callee: parseAgentName('tickets'), port: 0, open: true }]
    const settings = { egressTunnels: new Set([host.authority]) }
    const planner = await mesh.start('planner', { to, settings })
    const port = planner.ports.to['tickets'] ?? 0
    const answer = await sendRaw(await connectPlain(port), connectHead(host.authority, proof(planner)))
    expect(codeOf(answer)).toBe('CONNECT_REFUSED')
    expect(host.sockets).toEqual([])
  })

  it('under an allowed name do not lead back into this machine', async () => {
    await using host = await startOutside((socket) => socket.end())
    await using mesh = await startMesh()
    const authority = `localhost:${host.port}`
    const planner = await mesh.start('planner', { settings: { egressTunnels: new Set([authority]) } })
    const answer = await sendRaw(
      await connectPlain(planner.ports.egress),
      connectHead(authority, proof(planner)),
    )
    expect(codeOf(answer)).toBe('CONNECT_REFUSED')
    expect(await planner.records.end()).toMatchObject({
      outcome: 'failed',
      reason: 'CONNECT_REFUSED',
      status: 403,
    })
    expect(host.sockets).toEqual([])
  })

  it('are not begun while the ledger does not hold them, and not by who was revoked', async () => {
    await using host = await startOutside((socket) => socket.end())
    await using mesh = await startMesh()
    const settings = { egressTunnels: new Set([host.authority]) }
    const planner = await mesh.start('planner', { settings })
    const ask = async (): Promise<string | undefined> =>
      codeOf(
        await sendRaw(
          await connectPlain(planner.ports.egress),
          connectHead(host.authority, `${proof(planner)}connection: close\r\n`),
        ),
      )
    planner.records.failing = new MeshError('AUDIT_UNAVAILABLE', 'the disk is full')
    expect(await ask()).toBe('AUDIT_UNAVAILABLE')
    planner.records.failing = undefined
    mesh.revoke('planner')
    expect(await ask()).toBe('SELF_REVOKED')
    expect(await planner.records.decision()).toMatchObject({ decision: 'deny', reason: 'SELF_REVOKED' })
    expect(host.sockets).toEqual([])
  })

  it('are cut when their agent is revoked', async () => {
    await using host = await startOutside((socket) => void socket.write('hello'))
    await using mesh = await startMesh()
    const planner = await mesh.start('planner', { settings: { egressTunnels: new Set([host.authority]) } })
    const { socket } = await connectThrough(planner.ports.egress, host.authority, {
      'x-troth-local-credential': planner.credential,
    })
    await once(socket, 'data')
    const gone = once(socket, 'close')
    mesh.revoke('planner')
    await gone
    expect(await planner.records.end()).toMatchObject({ outcome: 'cut', reason: 'SELF_REVOKED', status: 200 })
  })

  it('that are refused leave nothing behind them to be read as a call', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    const hidden = `GET /@tickets/tickets/1 HTTP/1.1\r\nHost: 127.0.0.1:${planner.ports.egress}\r\n${proof(planner)}\r\n`
    const answer = await sendRaw(
      await connectPlain(planner.ports.egress),
      connectHead('example.org:443', proof(planner)) + hidden,
    )
    expect(answer.match(/HTTP\/1\.1 /g)).toHaveLength(1)
    expect(app.seen).toEqual([])
  })

  it('are bounded in number', () => {
    const tunnels = new Tunnels(new Set(['a:1']))
    tunnels.running = 1024
    expect(() => tunnels.check('a:1')).not.toThrow()
    tunnels.running = 1025
    expect(() => tunnels.check('a:1')).toThrow(expect.objectContaining({ code: 'CALLEE_BUSY' }) as Error)
  })
})
