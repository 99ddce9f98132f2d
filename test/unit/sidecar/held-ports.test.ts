import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseAgentName } from '../../../mesh/spiffe-id.js'
import type { SidecarConfig } from '../../../sidecar/config.js'
import { holdPorts } from '../../../sidecar/held-ports.js'
import { keepPorts } from '../../../sidecar/local-state.js'
import { connectPlain } from '../../support/raw-http.js'
import { QUIET } from '../../support/real-sidecars.js'

let home: string
beforeEach(() => {
  home = mkdtempSync(path.join(tmpdir(), 'th-'))
})
afterEach(() => rmSync(home, { recursive: true }))

const configOf = (name: string, ports: Partial<SidecarConfig> = {}): SidecarConfig => ({
  home,
  agent: parseAgentName(name),
  instance: null,
  app: null,
  enrolBy: null,
  listen: '127.0.0.1',
  advertise: null,
  egressPort: null,
  ingressPort: null,
  adminPort: null,
  egressAuth: 'credential',
  to: [],
  dev: true,
  settings: QUIET,
  ...ports,
})

const dirOf = (name: string): string => {
  const dir = path.join(home, 'agents', name)
  mkdirSync(dir, { recursive: true })
  return dir
}

const portOf = (server: net.Server | undefined): number => {
  const address = server?.address()
  if (typeof address !== 'object' || address === null) throw new Error('it does not listen')
  return address.port
}

/** Listens there; undefined when it is taken. */
const tryListen = (port: number): Promise<net.Server | undefined> =>
  new Promise((resolve) => {
    const server = net.createServer()
    server.once('error', () => resolve(undefined))
    server.listen(port, '127.0.0.1', () => resolve(server))
  })
const closed = (server: net.Server | undefined): Promise<void> =>
  new Promise((resolve) => (server === undefined ? resolve() : server.close(() => resolve())))

async function isFree(port: number): Promise<boolean> {
  const server = await tryListen(port)
  await closed(server)
  return server !== undefined
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, () => tryListen(0)))
  const ports = servers.map(portOf)
  await Promise.all(servers.map(closed))
  return ports
}

describe('ports of sidecars that are about to start', () => {
  it('are theirs until they open their doors: chosen ones and those kept from last time, each its own', async () => {
    const [egress = 0, ingress = 0, admin = 0, callee = 0, kept = 0, other = 0] = await freePorts(6)
    keepPorts(dirOf('a'), { egress: kept, ingress: 0, admin: 0 })
    const a = configOf('a', {
      ingressPort: ingress,
      adminPort: admin,
      to: [{ callee: parseAgentName('tickets'), port: callee, open: false }],
    })
    const b = configOf('b', { egressPort: egress, adminPort: other })
    const held = await holdPorts([a, b])
    for (const port of [kept, ingress, admin, callee, egress, other]) expect(await isFree(port)).toBe(false)
    await held.release(a)
    for (const port of [kept, ingress, admin, callee]) expect(await isFree(port)).toBe(true)
    for (const port of [egress, other]) expect(await isFree(port)).toBe(false)
    await held.release(b)
    await held.release(b)
    for (const port of [egress, other]) expect(await isFree(port)).toBe(true)
  })

  it('say nothing to who connects, and do not wait for it', async () => {
    const [admin = 0] = await freePorts(1)
    const a = configOf('a', { adminPort: admin })
    const held = await holdPorts([a])
    const early = await connectPlain(admin)
    early.on('error', () => undefined)
    await held.release(a)
    expect(await isFree(admin)).toBe(true)
    early.destroy()
  })

  it('that are taken, or cannot be known, are left to the start that needs them', async () => {
    const taken = await tryListen(0)
    const [callee = 0] = await freePorts(1)
    writeFileSync(path.join(dirOf('b'), 'ports.json'), 'not JSON')
    const a = configOf('a', { egressPort: portOf(taken) })
    const b = configOf('b', { to: [{ callee: parseAgentName('tickets'), port: callee, open: false }] })
    const held = await holdPorts([a, b])
    expect(await isFree(callee)).toBe(false)
    await held.release(a)
    await held.release(b)
    await closed(taken)
  })
})
