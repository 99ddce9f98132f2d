// Keeps the ports that identities of one process are going to listen on, chosen or kept from last time, until each opens its doors: else
// a port picked free for one of them, or a connection that it makes, would be what another needs. It hears nothing on them.

import net from 'node:net'
import { listen } from '../host/http-server.js'
import { agentDir } from '../member/state-dir.js'
import type { SidecarConfig } from './config.js'
import { portsFor } from './local-state.js'

export interface HeldPorts {
  /** Gives back those of this one, which takes them next. Harmless twice. */
  release(config: SidecarConfig): Promise<void>
}

const LOOPBACK = '127.0.0.1'

/** What cannot be held is left out: who needs it will say why. */
export async function holdPorts(configs: readonly SidecarConfig[]): Promise<HeldPorts> {
  const held = new Map<SidecarConfig, net.Server[]>()
  for (const config of configs) {
    const places = placesOf(config).filter(({ port }) => port !== 0)
    held.set(config, (await Promise.all(places.map(hold))).flat())
  }
  return {
    async release(config) {
      const servers = held.get(config) ?? []
      held.delete(config)
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
    },
  }
}

interface Place {
  readonly host: string
  readonly port: number
}

function placesOf(config: SidecarConfig): Place[] {
  const { home, agent: name, instance, egressPort, ingressPort, adminPort, to } = config
  const dir = agentDir({ home, kind: 'agent', name, instance })
  const chosen = { egress: egressPort, ingress: ingressPort, admin: adminPort }
  const dedicated = to.map(({ port }) => ({ host: LOOPBACK, port }))
  try {
    const { egress, ingress, admin } = portsFor(dir, chosen)
    const own = [egress, admin].map((port) => ({ host: LOOPBACK, port }))
    return [...own, { host: config.listen, port: ingress }, ...dedicated]
  } catch {
    // unreadable: its own start says so, and picks nothing
    return dedicated
  }
}

async function hold({ host, port }: Place): Promise<net.Server[]> {
  const server = net.createServer((socket) => void socket.destroy())
  try {
    await listen(server, { host, port, flag: '' })
    return [server]
  } catch {
    return []
  }
}
