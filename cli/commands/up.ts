// troth up: CA and collector of this home in the foreground, as two supervised processes.

import { Command } from 'commander'
import { listenHostOf } from '../../host/config.js'
import { openLifecycle, stopOnSignals } from '../../host/lifecycle.js'
import type { Level } from '../../host/log.js'
import { host, level, port } from '../arguments.js'
import { type DefineCommand, withExamples } from '../command.js'
import { readPassphrase } from '../passphrase.js'
import { asTyped, type Session, stayAlive } from '../session.js'
import { type Program, type Ready, supervise } from '../supervise.js'

interface Options {
  readonly listen?: string
  readonly caPort?: number
  readonly collectorPort?: number
  readonly passphraseFile?: string
  readonly logLevel: Level
}

export const upCommand: DefineCommand = (context) =>
  withExamples(
    new Command('up')
      .description('run the CA and the collector of this home in the foreground')
      .option('--listen <host>', 'address to listen on', host)
      .option('--ca-port <port>', 'port of the CA', port)
      .option('--collector-port <port>', 'port of the collector', port)
      .option('--passphrase-file <file>', 'passphrase of the issuing CA')
      .option('--log-level <level>', 'what of their logs is shown: debug, info, warn or error', level, 'warn')
      .action((options: Options) => up(context.session(), options)),
    context,
    'up',
    'up --listen 10.0.0.5 --passphrase-file /etc/troth/passphrase',
  )

async function up(session: Session, options: Options): Promise<void> {
  const { config, clock, out, json } = session
  const passphrase = await readPassphrase(session, options.passphraseFile)
  const lifecycle = openLifecycle()
  stopOnSignals(lifecycle)
  lifecycle.defer('alive', stayAlive())
  const listen = options.listen ?? listenHostOf(config)

  const program = (name: 'ca' | 'collector', firstPort: number, secret: string | null): Program => ({
    name,
    passphrase: secret,
    args: (lastPort) => [
      session.script,
      ...session.globalArgs,
      '--json',
      name,
      'serve',
      '--supervised',
      ...['--listen', listen, '--log-level', options.logLevel],
      ...[`--${name}-port`, String(lastPort === 0 ? firstPort : lastPort)],
    ],
    onReady: ({ address }: Ready) =>
      json ? out.json({ ready: name, address }) : out.line(`${name.padEnd(9)}  ready at ${address}`),
    onLog: (line) => out.say(line),
    onRestart: (why, waitMs) => out.say(`${name} ended (${why}); it is started again in ${waitMs} ms`),
  })

  try {
    const ca = await supervise(
      program('ca', options.caPort ?? config.caPort, passphrase),
      clock,
      lifecycle.signal,
    )
    lifecycle.defer('ca', () => ca.done)
    const collector = await supervise(
      program('collector', options.collectorPort ?? config.collectorPort, null),
      clock,
      lifecycle.signal,
    )
    lifecycle.defer('collector', () => collector.done)
    if (!json) {
      out.say(`next, in another terminal: ${asTyped(session, 'run planner -- COMMAND')}`)
      out.say(`on another host: paste what this prints: ${asTyped(session, 'token planner --line')}`)
    }
  } catch (error) {
    if (!lifecycle.signal.aborted) {
      lifecycle.stop()
      await lifecycle.done()
      throw error
    }
  }
  await lifecycle.done()
}
