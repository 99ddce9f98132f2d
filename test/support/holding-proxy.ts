// A TCP proxy on loopback that keeps what the server answers from a moment on that the test names: requests arrive, answers never do.

import net from 'node:net'

export interface HoldingProxy extends AsyncDisposable {
  readonly port: number
  /** Asked at each piece of an answer; once it says yes, that piece and all after it on the connection are kept back. */
  holdWhen: () => boolean
}

/** @param to the server's port */
export async function openHoldingProxy(to: number): Promise<HoldingProxy> {
  const sockets = new Set<net.Socket>()
  const keep = (socket: net.Socket): net.Socket => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => undefined)
    return socket
  }
  const server = net.createServer((client) => {
    const upstream = keep(net.connect(to, '127.0.0.1'))
    keep(client).pipe(upstream)
    let isHeld = false
    upstream.on('data', (chunk: Buffer) => {
      isHeld ||= proxy.holdWhen()
      if (!isHeld) client.write(chunk)
    })
    upstream.on('close', () => client.destroy())
    client.on('close', () => upstream.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as net.AddressInfo
  const proxy: HoldingProxy = {
    port,
    holdWhen: () => false,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  return proxy
}
