// The ports that were chosen are tried before anybody is registered or a token is spent: a busy one then leaves all as it was.

import net from 'node:net'
import { listen } from '../host/http-server.js'
import type { SidecarConfig } from './sidecar-options.js'

export type ChosenPorts = Pick<
  SidecarConfig,
  'agent' | 'listen' | 'egressPort' | 'ingressPort' | 'adminPort' | 'to'
>

const LOOPBACK = '127.0.0.1'

/**
 * Tries the ports of all these sidecars, held together so that no two are the same.
 * @param chosenBy how an error names what chose a port
 * @throws MeshError PORT_BUSY | CONFIG_INVALID
 */
export async function tryPorts(
  sidecars: readonly ChosenPorts[],
  chosenBy: 'flags' | 'file' = 'flags',
): Promise<void> {
  const held: net.Server[] = []
  try {
    for (const { host, port, flag } of sidecars.flatMap((each) => doorsOf(each, chosenBy))) {
      const server = net.createServer()
      await listen(server, { host, port: port ?? 0, flag })
      held.push(server)
    }
  } finally {
    await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))))
  }
}

function doorsOf(
  { agent, listen: host, egressPort, ingressPort, adminPort, to }: ChosenPorts,
  by: 'flags' | 'file',
) {
  const named = (flag: string, key: string): string => (by === 'flags' ? flag : `${key} of agent ${agent}`)
  return [
    { host: LOOPBACK, port: egressPort, flag: named('--egress-port', 'egressPort') },
    { host, port: ingressPort, flag: named('--ingress-port', 'ingressPort') },
    { host: LOOPBACK, port: adminPort, flag: named('--admin-port', 'adminPort') },
    ...to.map(({ callee, port }) => ({
      host: LOOPBACK,
      port,
      flag: named(`--to ${callee}=PORT`, `to ${callee}`),
    })),
  ]
}
