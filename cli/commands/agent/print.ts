// How a registered name and its instances are shown.

import { formatDuration } from '../../../mesh/duration.js'
import type { AgentInfo, InstanceInfo } from '../../../mesh/wire/admin.js'
import { formatFields, formatInstant, formatTable } from '../../output.js'
import type { Session } from '../../session.js'

export function printAgents({ out, json }: Session, agents: readonly AgentInfo[]): void {
  if (json) {
    for (const agent of agents) out.json(agent)
    return
  }
  if (agents.length === 0) {
    out.say('nobody is registered yet')
    return
  }
  const rows = agents.map(({ kind, name, state, instances }) => {
    const connected = instances.filter((instance) => instance.connected)
    const places = connected.flatMap(({ endpoint }) => (endpoint === null ? [] : [endpoint]))
    return [kind, name, state, `${connected.length}/${instances.length}`, places.join(' ') || '-']
  })
  for (const line of formatTable(['KIND', 'NAME', 'STATE', 'ONLINE', 'ENDPOINT'], rows)) out.line(line)
}

export function printAgent({ out, json, clock }: Session, agent: AgentInfo): void {
  if (json) {
    out.json(agent)
    return
  }
  const fields = formatFields([
    ['id', agent.id],
    ['state', agent.state],
    ['registered', formatInstant(agent.createdAt)],
    ['certificates', `live ${formatDuration(agent.ttlSeconds * 1000)}`],
    ['grace time', agent.graceSeconds === 0 ? 'none' : formatDuration(agent.graceSeconds * 1000)],
    ['on a clone', agent.onClone],
    ...(agent.address === null ? [] : [['may announce', agent.address] as const]),
  ])
  for (const line of fields) out.line(line)
  if (agent.instances.length === 0) return
  out.line('')
  const rows = agent.instances.map((instance) => rowOf(instance, clock.now()))
  for (const line of formatTable(HEADINGS, rows)) out.line(line)
}

const HEADINGS = [
  'INSTANCE',
  'FEED',
  'ENDPOINT',
  'SERIAL',
  'SINCE',
  'VALID UNTIL',
  'RENEWED FROM',
  'LAST SEEN',
]

function rowOf(instance: InstanceInfo, now: number): string[] {
  const { instanceId, connected, endpoint, serial, since, notAfter, parentSerial, lastSeenAt, needsToken } =
    instance
  const end = notAfter <= now ? ' (expired)' : needsToken ? ' (of an old root)' : ''
  return [
    instanceId,
    connected ? 'online' : 'offline',
    endpoint ?? '-',
    serial,
    formatInstant(since),
    `${formatInstant(notAfter)}${end}`,
    parentSerial ?? '-',
    lastSeenAt === null ? 'never' : formatInstant(lastSeenAt),
  ]
}
