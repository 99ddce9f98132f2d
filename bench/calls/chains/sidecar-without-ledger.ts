// A sidecar whose ledger keeps nothing, and that is like ours in everything else: what a call costs without one. For benches only; no
// setting of `troth sidecar` leads here.
// usage: node sidecar-without-ledger.js HOME AGENT APP|- EGRESS_PORT INGRESS_PORT ADMIN_PORT

import path from 'node:path'
import { systemClock } from '../../../host/clock.js'
import { readConfig } from '../../../host/config.js'
import { collectOnOneThread } from '../../../host/garbage.js'
import { openLifecycle } from '../../../host/lifecycle.js'
import { openLog } from '../../../host/log.js'
import { openMetrics } from '../../../host/metrics.js'
import { openSweep } from '../../../host/sweep.js'
import { openTurn } from '../../../host/turn.js'
import { openTurnClock } from '../../../host/turn-clock.js'
import { openMember } from '../../../member/member.js'
import { parseAgentName } from '../../../mesh/spiffe-id.js'
import type { SidecarConfig } from '../../../sidecar/config.js'
import { makeLocalSecrets } from '../../../sidecar/local-state.js'
import { openSidecar } from '../../../sidecar/sidecar.js'
import { openNullRecorder } from '../../ledger/null-recorder.js'
import { LOOPBACK } from '../../processes.js'

async function main([home = '', agent = '', app = '-', ...ports]: readonly string[]): Promise<void> {
  const [egress = 0, ingress = 0, admin = 0] = ports.map(Number)
  const settings = readConfig(home)
  const config: SidecarConfig = {
    home,
    agent: parseAgentName(agent),
    instance: null,
    app: app === '-' ? null : { host: LOOPBACK, port: Number(app) },
    enrolBy: { adminSocket: path.join(home, 'ca/admin.sock') },
    listen: LOOPBACK,
    advertise: null,
    egressPort: egress,
    ingressPort: ingress,
    adminPort: admin,
    egressAuth: 'none',
    to: [],
    dev: true,
    settings,
  }
  collectOnOneThread()
  const clock = systemClock
  const log = openLog({ clock, level: 'warn', write: (line) => void process.stderr.write(`${line}\n`) })
  const lifecycle = openLifecycle()
  const metrics = openMetrics()
  const turn = openTurn((error) => {
    throw error
  })
  const turnClock = openTurnClock(clock, turn)
  const { feedMaxStalenessMs } = settings
  const named = { kind: 'agent', name: config.agent, instance: null } as const
  const { enrolBy } = config
  const member = await openMember({
    home,
    ...named,
    enrolBy,
    dev: true,
    feedMaxStalenessMs,
    clock,
    log,
    lifecycle,
  })
  const { id, dir, credentials, world, feed } = member
  const sidecar = await openSidecar({
    config,
    id,
    credentials,
    world,
    feed,
    recorder: openNullRecorder(turn),
    clock: turnClock,
    turn,
    sweep: openSweep(turnClock),
    log,
    metrics,
    ports: { egress, ingress, admin },
    secrets: makeLocalSecrets(dir),
  })
  lifecycle.defer('doors', () => sidecar.close())
  if (config.app !== null) feed.advertise({ host: null, port: sidecar.ports.ingress })
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => lifecycle.stop())
  await lifecycle.done()
}

await main(process.argv.slice(2))
