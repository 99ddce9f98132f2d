// Whole sidecars with the real CA of a test: enrolled over its admin socket, stopped when the test ends.

import { parseConfig } from '../../host/config.js'
import { parseAgentName } from '../../mesh/spiffe-id.js'
import type { RunningSidecar, SidecarConfig } from '../../sidecar/config.js'
import { startSidecar } from '../../sidecar/main.js'
import type { TestCa } from './running-ca.js'

export interface RealSidecars extends AsyncDisposable {
  /** The agent is registered already. */
  start(name: string, chosen?: Partial<SidecarConfig>): Promise<RunningSidecar>
}

export function openSidecars(ca: TestCa): RealSidecars {
  const running: RunningSidecar[] = []
  return {
    async start(name, chosen = {}) {
      const sidecar = await startSidecar({
        home: ca.home,
        agent: parseAgentName(name),
        instance: null,
        app: null,
        enrolBy: { adminSocket: ca.running.adminSocket },
        listen: '127.0.0.1',
        advertise: null,
        egressPort: null,
        ingressPort: null,
        adminPort: null,
        egressAuth: 'credential',
        to: [],
        dev: true,
        settings: QUIET,
        ...chosen,
      })
      running.push(sidecar)
      return sidecar
    },
    async [Symbol.asyncDispose]() {
      for (const sidecar of running) await sidecar.stop()
    },
  }
}

export const QUIET: SidecarConfig['settings'] = {
  ...parseConfig('', 'config.yaml'),
  drainMs: 500,
  logLevel: 'error',
}

export const urlOf = (sidecar: RunningSidecar, callee: string): string =>
  `http://127.0.0.1:${sidecar.ports.egress}/~${sidecar.localCredential}/@${callee}`

/** Polls what a feed brings about, with a deadline. */
export async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  const deadline = performance.now() + 8000
  while (performance.now() < deadline) {
    const found = await look()
    if (found !== undefined) return found
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error(`never: ${what}`)
}
