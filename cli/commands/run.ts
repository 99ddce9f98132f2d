// troth run: a sidecar and the agent's own process, started and ended together. The process gets the sidecar's doors in its
// environment; its exit code is ours.

import { Command } from 'commander'
import { type AgentName, parseAgentName } from '../../mesh/spiffe-id.js'
import { startAgent } from '../agent-process.js'
import { type DefineCommand, withExamples } from '../command.js'
import { findEnrolment, registerUnknown } from '../enrol-by.js'
import { tryPorts } from '../free-ports.js'
import { waitUntilReady } from '../readiness.js'
import type { Session } from '../session.js'
import {
  type RunningSidecar,
  type SidecarOptions,
  sidecarConfigOf,
  stateDirOf,
  withSidecarOptions,
} from '../sidecar-options.js'

interface Options extends SidecarOptions {
  readonly httpProxy?: boolean
}

export const runCommand: DefineCommand = (context) =>
  withExamples(
    withSidecarOptions(
      new Command('run')
        .description('run an agent beside its sidecar; everything after -- is its command')
        .argument('<name>', 'the agent; registered when the CA of this home does not know it', parseAgentName)
        .argument('<command...>', 'the command and its arguments'),
    )
      .option('--http-proxy', 'set HTTP_PROXY too, so that http://CALLEE.mesh/ works without a change')
      .action((name: AgentName, command: string[], options: Options) =>
        run(context.session(), name, { command, options }),
      ),
    context,
    'run tickets --app 127.0.0.1:8080 -- node tickets.js',
    'run planner --to tickets=4002 -- python3 planner.py',
  )

async function run(
  session: Session,
  name: AgentName,
  { command, options }: { command: readonly string[]; options: Options },
): Promise<void> {
  const dir = stateDirOf(session, name, options)
  const source = await findEnrolment(session, { kind: 'agent', name, dir, token: options.token })
  // the agent shares our stderr: only what needs a person, unless more was asked for
  const config = sidecarConfigOf(session, name, { logLevel: 'warn', ...options }, source)
  await tryPorts([config])
  if (source.admin !== null) await registerUnknown(session, source.admin, { kind: 'agent', name })
  const { startSidecar } = await import('../../sidecar/main.js')
  const sidecar = await startSidecar(config)
  try {
    await waitUntilReady(session, sidecar.ports.admin)
    session.exitWith(await runBeside(session, sidecar, { command, options }))
  } finally {
    await sidecar.stop()
    await sidecar.done
  }
}

/** @returns the exit code of the command; a sidecar that fails first ends the command and throws */
async function runBeside(
  { env, stdin }: Session,
  sidecar: RunningSidecar,
  { command, options }: { command: readonly string[]; options: Options },
): Promise<number> {
  const agent = await startAgent(command, {
    env: { ...env, ...environmentOf(sidecar, options) },
    interruptedByTerminal: stdin.isTTY === true,
    beforeEnd: () => sidecar.stop(),
  })
  const failed = sidecar.done.then(
    () => undefined,
    (error: unknown) => {
      agent.stop()
      return { error }
    },
  )
  const code = await agent.exited
  const failure = await Promise.race([failed, Promise.resolve(undefined)])
  if (failure !== undefined) throw failure.error
  return code
}

/** What the process of an agent is told. */
export function environmentOf(
  { ports, localCredential, ingressSecretFile }: Omit<RunningSidecar, 'stop' | 'done'>,
  { to = [], egressAuth, httpProxy = false }: Pick<Options, 'to' | 'egressAuth' | 'httpProxy'>,
): Record<string, string> {
  const egress = `http://127.0.0.1:${ports.egress}`
  const proxy = egressAuth === 'none' ? egress : `http://troth:${localCredential}@127.0.0.1:${ports.egress}`
  const direct = 'localhost,127.0.0.1,::1'
  return {
    TROTH_URL: egress,
    TROTH_LOCAL_CREDENTIAL: localCredential,
    TROTH_INGRESS_SECRET_FILE: ingressSecretFile,
    ...Object.fromEntries(
      to.map(({ callee, open }) => [
        `TROTH_${callee.toUpperCase().replaceAll('-', '_')}_URL`,
        `http://127.0.0.1:${ports.to[callee] ?? 0}${open || egressAuth === 'none' ? '' : `/~${localCredential}`}`,
      ]),
    ),
    ...(httpProxy ? { HTTP_PROXY: proxy, http_proxy: proxy, NO_PROXY: direct, no_proxy: direct } : {}),
  }
}
