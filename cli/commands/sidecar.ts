// troth sidecar: the sidecar of one agent in the foreground; the agent itself is started by somebody else.

import { Command } from 'commander'
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

interface Options extends SidecarOptions {
  readonly agent: AgentName
}

export const sidecarCommand: DefineCommand = (context) =>
  withExamples(
    withSidecarOptions(
      new Command('sidecar')
        .description('run the sidecar of an agent in the foreground')
        .requiredOption('--agent <name>', 'the agent it speaks for', parseAgentName),
    ).action((options: Options) => sidecar(context.session(), options)),
    context,
    'sidecar --agent tickets --app 127.0.0.1:8080 --token file:tickets.token',
    'sidecar --agent planner --egress-port 4001 --to tickets=4002',
  )

async function sidecar(session: Session, options: Options): Promise<void> {
  const { agent } = options
  const dir = stateDirOf(session, agent, options)
  const source = await findEnrolment(session, { kind: 'agent', name: agent, dir, token: options.token })
  const config = sidecarConfigOf(session, agent, options, source)
  await tryPorts(config)
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
