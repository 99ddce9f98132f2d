// troth sidecar: the sidecar of one agent, or of those that a file lists, in the foreground; the agents themselves are started by
// somebody else.

import { Command, Option } from 'commander'
import { MeshError } from '../../mesh/errors.js'
import { type AgentName, parseAgentName } from '../../mesh/spiffe-id.js'
import { type DefineCommand, withExamples } from '../command.js'
import { findEnrolment } from '../enrol-by.js'
import { tryPorts } from '../free-ports.js'
import { formatFields } from '../output.js'
import { waitUntilReady } from '../readiness.js'
import type { Session } from '../session.js'
import {
  type RunningSidecar,
  type SidecarConfig,
  type SidecarOptions,
  sidecarConfigOf,
  stateDirOf,
  withSidecarOptions,
} from '../sidecar-options.js'
import { serveListed } from './sidecar/several.js'

interface Options extends SidecarOptions {
  readonly agent?: AgentName
  readonly config?: string
}

/** Flags that belong to one agent: with --config they stand in the file. */
const OF_ONE_AGENT = [
  'agent',
  'app',
  'to',
  'token',
  'instance',
  'advertise',
  'egressPort',
  'ingressPort',
  'adminPort',
]

export const sidecarCommand: DefineCommand = (context) =>
  withExamples(
    withSidecarOptions(
      new Command('sidecar')
        .description('run the sidecar of an agent, or of several, in the foreground')
        .option('--agent <name>', 'the agent it speaks for', parseAgentName)
        .addOption(
          new Option('--config <file>', 'serve every agent that this file lists').conflicts(OF_ONE_AGENT),
        ),
    ).action((options: Options) => start(context.session(), options)),
    context,
    'sidecar --agent tickets --app 127.0.0.1:8080 --token file:tickets.token',
    'sidecar --config agents.yaml',
  )

function start(session: Session, { agent, config, ...options }: Options): Promise<void> {
  if (config !== undefined) return serveListed(session, config, options)
  if (agent !== undefined) return serveOne(session, agent, options)
  throw new MeshError('USAGE', 'no agent is named', {
    hint: 'name it with --agent NAME, or a file that lists several with --config FILE',
  })
}

async function serveOne(session: Session, agent: AgentName, options: SidecarOptions): Promise<void> {
  const dir = stateDirOf(session, agent, options)
  const source = await findEnrolment(session, { kind: 'agent', name: agent, dir, token: options.token })
  const config = sidecarConfigOf(session, agent, options, source)
  await tryPorts([config])
  const { startSidecar } = await import('../../sidecar/main.js')
  const running = await startSidecar(config)
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void running.stop())

  await Promise.race([waitUntilReady(session, running.ports.admin), running.done])
  const { out, json } = session
  if (json) out.json({ ready: true, id: running.id, ports: running.ports })
  else {
    for (const line of describe(running, config, dir)) out.line(line)
    out.say('ready; Ctrl-C stops it')
  }
  await running.done
}

function describe(
  { id, ports }: RunningSidecar,
  { app, listen, egressAuth }: SidecarConfig,
  dir: string,
): string[] {
  const credential =
    egressAuth === 'none' ? 'open to every process of this host' : `credential in ${dir}/local-credential`
  const behind =
    app === null
      ? 'no app: calls only'
      : `app at ${'host' in app ? `${app.host}:${app.port}` : app.socketPath}`
  return formatFields([
    ['agent', id],
    ['egress', `http://127.0.0.1:${ports.egress}/@CALLEE/PATH  ${credential}`],
    ...Object.entries(ports.to).map(([callee, to]) => [`to ${callee}`, `http://127.0.0.1:${to}`] as const),
    ['ingress', `${listen}:${ports.ingress}  ${behind}`],
    ['admin', `http://127.0.0.1:${ports.admin}/readyz`],
  ])
}
