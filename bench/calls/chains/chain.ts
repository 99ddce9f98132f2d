// A way from the load generator to the app: our two sidecars, somebody else's two proxies, or none.

import { once } from 'node:events'
import net from 'node:net'
import { LOOPBACK, type Started, stop, until } from '../../processes.js'

export interface Chain extends AsyncDisposable {
  readonly name: string
  /** Where calls are sent. */
  readonly host: string
  readonly port: number
  /** What stands before the app's path in a target, e.g. `/@app`. */
  readonly prefix: string
  /** The two proxies. */
  readonly pids: readonly number[]
  /** The second proxy's mutual-TLS door for clients without a proxy of their own. @throws Error where there is none */
  door(): Promise<Door>
}

export interface Door {
  readonly port: number
  /** In the server's certificate. */
  readonly serverName: string
  readonly caPem: string
  readonly certPem: string
  readonly keyPem: string
  /** Of the process behind it. */
  readonly pid: number
}

/** No proxy at all: what the others are a detour of. */
export function directChain(app: number): Chain {
  return {
    name: 'direct',
    host: LOOPBACK,
    port: app,
    prefix: '',
    pids: [],
    door: () => Promise.reject(new Error('there is no TLS on a direct call')),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

/** Waits until the process takes connections. @throws Error with what it said when it does not */
export async function untilListening(started: Started, port: number): Promise<void> {
  await until(started, async () => {
    const socket = net.connect(port, LOOPBACK)
    try {
      await once(socket, 'connect')
      return true
    } catch {
      return false
    } finally {
      socket.destroy()
    }
  })
}

export async function stopAll(processes: readonly Started[]): Promise<void> {
  await Promise.all(processes.map(stop))
}
