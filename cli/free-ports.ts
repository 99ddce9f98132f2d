// The ports that flags chose are tried before anybody is registered or a token is spent: a busy one then leaves all as it was.

import net from 'node:net'
import { listen } from '../host/http-server.js'
import type { SidecarConfig } from './sidecar-options.js'

const LOOPBACK = '127.0.0.1'

/** @throws MeshError PORT_BUSY | CONFIG_INVALID, naming the flag */
export async function tryPorts(
  config: Pick<SidecarConfig, 'listen' | 'egressPort' | 'ingressPort' | 'adminPort' | 'to'>,
): Promise<void> {
  const { egressPort, ingressPort, adminPort, to } = config
  const chosen = [
    { host: LOOPBACK, port: egressPort, flag: '--egress-port' },
    { host: config.listen, port: ingressPort, flag: '--ingress-port' },
    { host: LOOPBACK, port: adminPort, flag: '--admin-port' },
    ...to.map(({ callee, port }) => ({ host: LOOPBACK, port, flag: `--to ${callee}=PORT` })),
  ]
  for (const { host, port, flag } of chosen) {
    const server = net.createServer()
    await listen(server, { host, port: port ?? 0, flag })
    await new Promise((resolve) => server.close(resolve))
  }
}
