// The options that `sidecar` and `run` share, and the complete SidecarConfig they add up to.

import { isIP } from 'node:net'
import path from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { Level } from '../host/log.js'
import { agentDir } from '../member/state-dir.js'
import type { AgentName } from '../mesh/spiffe-id.js'
import type { startSidecar, startSidecars } from '../sidecar/main.js'
import {
  type AppAddress,
  appAddress,
  type CalleePort,
  calleePort,
  host,
  hostAndPort,
  level,
  port,
} from './arguments.js'
import type { EnrolmentSource } from './enrol-by.js'
import type { Session } from './session.js'

export type SidecarConfig = Parameters<typeof startSidecar>[0]
export type RunningSidecar = Awaited<ReturnType<typeof startSidecar>>
export type RunningSidecars = Awaited<ReturnType<typeof startSidecars>>

const EGRESS_AUTHS = ['credential', 'none'] as const

export interface SidecarOptions {
  readonly app?: AppAddress
  readonly instance?: string
  readonly token?: string
  readonly listen?: string
  readonly advertise?: { readonly host: string; readonly port: number | null }
  readonly egressPort?: number
  readonly ingressPort?: number
  readonly adminPort?: number
  readonly egressAuth: (typeof EGRESS_AUTHS)[number]
  readonly to?: readonly CalleePort[]
  readonly logLevel?: Level
}

export function withSidecarOptions(command: Command): Command {
  return command
    .option(
      '--app <address>',
      'the app that serves calls: HOST:PORT or unix:PATH, with h2c: before it when it speaks HTTP/2 only; without it: calls only',
      appAddress,
    )
    .option(
      '--to <callee=port>',
      'a local port for one callee; with ,open it asks for no credential',
      calleePort,
    )
    .option('--token <token>', 'join token: file:PATH, - for stdin, or the token itself')
    .option('--instance <id>', 'another instance of the same agent on this host', instanceName)
    .option('--listen <host>', 'address the ingress listens on', host)
    .option('--advertise <host[:port]>', 'address that callers are told', hostAndPort)
    .option('--egress-port <port>', 'local port for outgoing calls', port)
    .option('--ingress-port <port>', 'port for incoming calls', port)
    .option('--admin-port <port>', 'health and metrics on loopback', port)
    .addOption(
      new Option('--egress-auth <how>', 'what local processes must show')
        .choices(EGRESS_AUTHS)
        .default('credential'),
    )
    .option('--log-level <level>', 'debug, info, warn or error', level)
}

/** Where the agent's state is. */
export function stateDirOf({ home }: Session, name: AgentName, options: SidecarOptions): string {
  return agentDir({ home, kind: 'agent', name, instance: options.instance ?? null })
}

export function sidecarConfigOf(
  session: Session,
  agent: AgentName,
  options: SidecarOptions,
  { enrolBy, caHost }: EnrolmentSource,
): SidecarConfig {
  const { home, dev, config } = session
  return {
    home,
    agent,
    instance: options.instance ?? null,
    app: appOf(session, options.app),
    enrolBy,
    listen: options.listen ?? (caHost !== null && isLoopback(caHost) ? '127.0.0.1' : '0.0.0.0'),
    advertise: options.advertise ?? advertisedBy(options.listen),
    egressPort: options.egressPort ?? null,
    ingressPort: options.ingressPort ?? null,
    adminPort: options.adminPort ?? null,
    egressAuth: options.egressAuth,
    to: options.to ?? [],
    dev,
    settings: { ...config, logLevel: options.logLevel ?? config.logLevel },
  }
}

function appOf({ cwd }: Session, app: AppAddress | undefined): AppAddress | null {
  if (app === undefined) return null
  return 'socketPath' in app ? { ...app, socketPath: path.resolve(cwd, app.socketPath) } : app
}

/** One address listened on is the one to be told; else the CA sees for itself. */
function advertisedBy(listen: string | undefined): SidecarConfig['advertise'] {
  const isOne = listen !== undefined && isIP(listen) !== 0 && listen !== '0.0.0.0' && listen !== '::'
  return isOne ? { host: listen, port: null } : null
}

const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))

export function egressAuth(raw: string): SidecarOptions['egressAuth'] {
  const found = EGRESS_AUTHS.find((each) => each === raw)
  if (found === undefined) throw new InvalidArgumentError(`It must be ${EGRESS_AUTHS.join(' or ')}.`)
  return found
}

export function instanceName(raw: string): string {
  if (!/^[a-z0-9][a-z0-9-]{0,31}$/.test(raw))
    throw new InvalidArgumentError('It must be lower-case letters, digits and hyphens, at most 32.')
  return raw
}
