// The process of the app that is called.
// usage: node main.js PORT

import { createApp } from './server.js'

createApp().listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 1024 })
