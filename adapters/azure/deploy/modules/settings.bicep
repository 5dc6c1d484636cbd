// What a worker must know, as cloud-init writes it before the worker is installed. There is no secret in it.

param name string
param storageAccountName string
param queueName string
param containerName string
param healthPort int

resource account 'Microsoft.Storage/storageAccounts@2026-09-01' existing = {
  name: storageAccountName
}

resource worker 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: '${name}-worker'
}

resource component 'Microsoft.Insights/components@2020-02-02' existing = {
  name: '${name}-insights'
}

var variables = [
  'SPOTFSM_QUEUE=${account.properties.primaryEndpoints.queue}${queueName}'
  'SPOTFSM_STORE=${account.properties.primaryEndpoints.blob}${containerName}'
  'SPOTFSM_CLIENT_ID=${worker.properties.clientId}'
  'APPLICATIONINSIGHTS_CONNECTION_STRING="${component.properties.ConnectionString}"'
  'APPLICATIONINSIGHTS_AUTHENTICATION_STRING="Authorization=AAD;ClientId=${worker.properties.clientId}"'
]
var health = healthPort == 0 ? [] : ['SPOTFSM_HEALTH_PORT=${healthPort}']
var environmentFile = base64(join(concat(variables, health, ['']), '\n'))
var cloudConfig = [
  '#cloud-config'
  'write_files:'
  '- path: /etc/spotfsm/worker.env'
  '  permissions: "0644"'
  '  encoding: b64'
  '  content: ${environmentFile}'
  ''
]

output customData string = base64(join(cloudConfig, '\n'))
