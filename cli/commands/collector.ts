// troth collector: serve the collector in the foreground, in the CA's home or in its own.

import path from 'node:path'
import { Command, Option } from 'commander'
import { listenHostOf } from '../../host/config.js'
import { openLifecycle, stopOnSignals } from '../../host/lifecycle.js'
import type { Level } from '../../host/log.js'
import { type AgentName, parseAgentName } from '../../mesh/spiffe-id.js'
import { host, level, port } from '../arguments.js'
import { type CommandContext, type DefineCommand, withExamples } from '../command.js'
import { findEnrolment } from '../enrol-by.js'
import { logOf, type Session } from '../session.js'
import { stopWithParent } from '../supervise.js'

interface Options {
  readonly name: AgentName
  readonly token?: string
  readonly listen?: string
  readonly collectorPort?: number
  readonly adminPort?: number
  readonly logLevel?: Level
  readonly supervised?: boolean
}

export const collectorCommand: DefineCommand = (context) =>
  withExamples(
    new Command('collector')
      .description('the collector, which receives the ledgers of all agents')
      .addCommand(serveCommand(context)),
    context,
    'collector serve',
    'collector serve --listen 10.0.0.6',
  )

const serveCommand = (context: CommandContext): Command =>
  withExamples(
    new Command('serve')
      .description('serve the collector in the foreground')
      .option('--name <name>', 'its name in the mesh', parseAgentName, parseAgentName('main'))
      .option('--token <token>', 'join token: file:PATH, - for stdin, or the token itself')
      .option('--listen <host>', 'address to listen on', host)
      .option('--collector-port <port>', 'port to listen on', port)
      .option('--admin-port <port>', 'health and metrics on loopback', port)
      .option('--log-level <level>', 'debug, info, warn or error', level)
      .addOption(new Option('--supervised').hideHelp())
      .action((options: Options) => serve(context.session(), options)),
    context,
    'collector serve --admin-port 7413',
    'collector serve --name west --token file:west.token --listen 10.0.0.6',
  )

async function serve(session: Session, options: Options): Promise<void> {
  const { home, config, dev, clock, out } = session
  const { enrolBy } = await findEnrolment(session, {
    kind: 'collector',
    name: options.name,
    dir: path.join(home, 'collector'),
    token: options.token,
  })
  const { serveCollector } = await import('../../collector/main.js')
  const collector = await serveCollector({
    home,
    name: options.name,
    listen: options.listen ?? listenHostOf(config),
    port: options.collectorPort ?? config.collectorPort,
    adminPort: options.adminPort ?? null,
    enrolBy,
    dev,
    clock,
    log: logOf(session, options.logLevel ?? config.logLevel),
    settings: config,
  })
  const lifecycle = openLifecycle()
  stopOnSignals(lifecycle)
  if (options.supervised === true) stopWithParent(session.stdin, lifecycle)
  lifecycle.run('collector', () => collector.done.finally(() => lifecycle.stop()))
  lifecycle.defer('collector', () => collector.close())
  const { host: name, port: number } = collector.address
  if (session.json)
    out.json({ ready: true, address: `${name}:${number}`, port: number, adminPort: collector.adminPort })
  else out.line(`collector ready at ${name}:${number}`)
  await lifecycle.done()
}
