// troth sidecar --config FILE: the agents that a file lists, served by this one process. The file and every port are checked before
// anybody is enrolled.

import path from 'node:path'
import { asMeshError, MeshError } from '../../../mesh/errors.js'
import type { AgentName } from '../../../mesh/spiffe-id.js'
import { type ForAll, readAgentsFile } from '../../agents-file.js'
import { findEnrolment } from '../../enrol-by.js'
import { tryPorts } from '../../free-ports.js'
import { waitUntilReady } from '../../readiness.js'
import type { Session } from '../../session.js'
import {
  type RunningSidecar,
  type RunningSidecars,
  type SidecarConfig,
  sidecarConfigOf,
  stateDirOf,
} from '../../sidecar-options.js'

type ServedAgent = RunningSidecars['agents'][number]

/** @throws MeshError CONFIG_*, PORT_BUSY, NOT_ENROLLED, JOIN_TOKEN_*; of starting when no agent could be started, or at the end of one that failed */
export async function serveListed(session: Session, file: string, forAll: ForAll): Promise<void> {
  const [first, ...rest] = await configsOf(session, path.resolve(session.cwd, file), forAll)
  if (first === undefined) throw new MeshError('CONFIG_INVALID', `${file} lists no agent`)
  await tryPorts([first, ...rest], 'file')
  const { startSidecars } = await import('../../../sidecar/main.js')
  const running = await startSidecars([first, ...rest])
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void running.stop())
  await Promise.race([tellAll(session, running), running.done])
  await running.done
}

async function configsOf(session: Session, file: string, forAll: ForAll): Promise<SidecarConfig[]> {
  const configs: SidecarConfig[] = []
  for (const { agent, options } of readAgentsFile(file, forAll)) {
    const dir = stateDirOf(session, agent, options)
    const source = await findEnrolment(session, { kind: 'agent', name: agent, dir, token: options.token })
    configs.push(sidecarConfigOf(session, agent, options, source))
  }
  return configs
}

/** One line for each agent as soon as it is ready; what keeps one from it is said and leaves the others as they are. */
async function tellAll(session: Session, { agents }: RunningSidecars): Promise<void> {
  const ready = await Promise.all(agents.map((served) => tellOne(session, served)))
  const count = ready.filter(Boolean).length
  if (!session.json) session.out.say(`${count} of ${agents.length} ready; Ctrl-C stops them`)
}

/** @returns whether it is ready */
async function tellOne(session: Session, served: ServedAgent): Promise<boolean> {
  const { out, json } = session
  const { agent, instance, running } = served
  const refusal = running === null ? served.failure : await whyUnready(session, agent, running)
  if (refusal !== null) {
    const { code, message, hint } = refusal
    if (json) out.json({ ready: false, agent, instance, code, detail: message, hint })
    // of one that ended or did not start the log has said so
    else if (code === 'SIDECAR_UNREADY') out.say(`${message} (${code})`)
  } else if (running !== null) {
    const { id, ports } = running
    if (json) out.json({ ready: true, agent, instance, id, ports })
    else out.line(describe(served, ports))
  }
  return refusal === null
}

function describe({ agent, instance }: ServedAgent, ports: RunningSidecar['ports']): string {
  return [
    instance === null ? agent : `${agent}@${instance}`,
    `egress http://127.0.0.1:${ports.egress}`,
    ...Object.entries(ports.to).map(([callee, port]) => `to ${callee} http://127.0.0.1:${port}`),
    `ingress port ${ports.ingress}`,
    `admin http://127.0.0.1:${ports.admin}/readyz`,
  ].join('  ')
}

/** Null when it is ready. */
async function whyUnready(
  session: Session,
  agent: AgentName,
  { ports, done }: RunningSidecar,
): Promise<MeshError | null> {
  const say = (text: string): void => session.out.say(`agent ${agent}: ${text}`)
  const ended = done.then(() => {
    throw new MeshError('SIDECAR_UNREADY', 'stopped before it was ready')
  })
  try {
    await Promise.race([waitUntilReady({ ...session, out: { ...session.out, say } }, ports.admin), ended])
    return null
  } catch (error) {
    const { code, message, hint } = asMeshError(error)
    return new MeshError(code, `agent ${agent}: ${message}`, { cause: error, hint })
  }
}
