// A host outside the mesh, reached through a tunnel; and the client's side of CONNECT, as libraries do it.

import http from 'node:http'
import net, { type AddressInfo, type Socket } from 'node:net'

export interface OutsideHost extends AsyncDisposable {
  readonly port: number
  /** `127.0.0.1:<port>` */
  readonly authority: string
  /** Every connection that reached it, in order. */
  readonly sockets: readonly Socket[]
}

/** @param serve gets each connection; one side may end before the other */
export async function startOutside(serve: (socket: Socket) => void): Promise<OutsideHost> {
  const sockets: Socket[] = []
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket)
    socket.on('error', () => socket.destroy())
    serve(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    port,
    authority: `127.0.0.1:${port}`,
    sockets,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

export interface Tunnel {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  /** The tunnel when the status is 200, else what is left of the connection. */
  readonly socket: Socket
  /** The body of a refusal that came with its head. */
  readonly body: Buffer
}

/** Asks the proxy on a local port for a tunnel. */
export function connectThrough(
  proxyPort: number,
  authority: string,
  headers: http.OutgoingHttpHeaders,
): Promise<Tunnel> {
  return new Promise((resolve, reject) => {
    const asked = http.request({
      host: '127.0.0.1',
      port: proxyPort,
      method: 'CONNECT',
      path: authority,
      agent: false,
      headers,
    })
    asked.once('connect', ({ statusCode, headers: answered }, socket: Socket, body: Buffer) => {
      socket.on('error', () => socket.destroy())
      if (statusCode === 200) socket.unshift(body)
      resolve({ status: statusCode ?? 0, headers: answered, socket, body })
    })
    asked.once('error', reject)
    asked.end()
  })
}
