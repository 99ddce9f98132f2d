// troth ca serve: the CA of this home in the foreground, without a collector.

import { Command, Option } from 'commander'
import { listenHostOf } from '../../../host/config.js'
import { openLifecycle, stopOnSignals } from '../../../host/lifecycle.js'
import type { Level } from '../../../host/log.js'
import { host, level, port } from '../../arguments.js'
import { type DefineCommand, withExamples } from '../../command.js'
import { readInheritedPassphrase, readPassphrase } from '../../passphrase.js'
import { logOf, type Session } from '../../session.js'
import { stopWithParent } from '../../supervise.js'

interface ServeOptions {
  readonly listen?: string
  readonly caPort?: number
  readonly adminPort?: number
  readonly passphraseFile?: string
  readonly logLevel?: Level
  readonly supervised?: boolean
}

export const serveCommand: DefineCommand = (context) =>
  withExamples(
    new Command('serve')
      .description('serve the CA in the foreground, without a collector')
      .option('--listen <host>', 'address to listen on', host)
      .option('--ca-port <port>', 'port to listen on', port)
      .option('--admin-port <port>', 'health and metrics on loopback', port)
      .option('--passphrase-file <file>', 'passphrase of the issuing CA')
      .option('--log-level <level>', 'debug, info, warn or error', level)
      .addOption(new Option('--supervised').hideHelp())
      .action((options: ServeOptions) => serve(context.session(), options)),
    context,
    'ca serve --passphrase-file /etc/troth/passphrase',
    'ca serve --listen 10.0.0.5 --admin-port 7412',
  )

async function serve(session: Session, options: ServeOptions): Promise<void> {
  const { home, config, dev, clock, out } = session
  const supervised = options.supervised === true
  const passphrase = supervised
    ? readInheritedPassphrase()
    : await readPassphrase(session, options.passphraseFile)
  const lifecycle = openLifecycle()
  stopOnSignals(lifecycle)
  // loaded when needed: most commands are a message to a running CA and should start at once
  const { serveCa } = await import('../../../ca/main.js')
  const ca = await serveCa({
    home,
    listen: options.listen ?? listenHostOf(config),
    port: options.caPort ?? config.caPort,
    adminPort: options.adminPort ?? null,
    passphrase,
    dev,
    leafTtlMs: config.leafTtlMs,
    clock,
    log: logOf(session, options.logLevel ?? config.logLevel),
    lifecycle,
  })
  if (supervised) stopWithParent(session.stdin, lifecycle)
  if (session.json) out.json({ ready: true, address: ca.address, port: ca.port, adminPort: ca.adminPort })
  else out.line(`CA ready at ${ca.address}`)
  await lifecycle.done()
}
