// Who may do what. A new assignment takes minutes to arrive; the worker waits for it.

param accountName string
param queueName string
param poisonQueueName string
param containerName string
param packagesName string
param insightsName string
param workerPrincipalId string
param publisherPrincipalId string
param operatorPrincipalId string
param operatorPrincipalType string

// https://learn.microsoft.com/azure/role-based-access-control/built-in-roles, read 2026-11
var builtIn = {
  metricsPublisher: '3913510d-42f4-4e42-8a64-420c390055eb' // Monitoring Metrics Publisher
  queueContributor: '974c5e8b-45b9-4653-ba55-5f855dd0fb88' // Storage Queue Data Contributor
  blobContributor: 'ba92f5b4-2d11-453d-a403-e96b0029c9fe' // Storage Blob Data Contributor
  reader: 'acdd72a7-3385-48ef-bd42-f606fba81ae7' // Reader
}
var hasOperator = !empty(operatorPrincipalId)

resource account 'Microsoft.Storage/storageAccounts@2026-09-01' existing = {
  name: accountName
}

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2026-09-01' existing = {
  parent: account
  name: 'default'
}

resource queue 'Microsoft.Storage/storageAccounts/queueServices/queues@2026-09-01' existing = {
  parent: queueService
  name: queueName
}

resource poisonQueue 'Microsoft.Storage/storageAccounts/queueServices/queues@2026-09-01' existing = {
  parent: queueService
  name: poisonQueueName
}

resource blobService 'Microsoft.Storage/storageAccounts/blobServices@2026-09-01' existing = {
  parent: account
  name: 'default'
}

resource records 'Microsoft.Storage/storageAccounts/blobServices/containers@2026-09-01' existing = {
  parent: blobService
  name: containerName
}

resource packages 'Microsoft.Storage/storageAccounts/blobServices/containers@2026-09-01' existing = {
  parent: blobService
  name: packagesName
}

resource component 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

// -- the worker ------------------------------------------------------------------------------------------------------

// Exactly what a worker calls. The built-in Storage Queue Data Message Processor can neither renew a lease nor count.
// The display name of a custom role is unique in its tenant, hence the end of it.
resource workerRole 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, 'spotfsm worker')
  properties: {
    roleName: 'spotfsm worker ${uniqueString(resourceGroup().id)}'
    description: 'Receive, renew, release, delete and count messages, put poisoned ones, and keep records.'
    type: 'CustomRole'
    assignableScopes: [
      resourceGroup().id
    ]
    permissions: [
      {
        actions: [
          'Microsoft.Storage/storageAccounts/queueServices/queues/read'
        ]
        dataActions: [
          'Microsoft.Storage/storageAccounts/queueServices/queues/messages/read'
          'Microsoft.Storage/storageAccounts/queueServices/queues/messages/process/action'
          'Microsoft.Storage/storageAccounts/queueServices/queues/messages/write'
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read'
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write'
        ]
      }
    ]
  }
}

resource workerOnQueue 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(queue.id, workerPrincipalId, workerRole.id)
  scope: queue
  properties: {
    principalId: workerPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: workerRole.id
  }
}

resource workerOnPoisonQueue 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(poisonQueue.id, workerPrincipalId, workerRole.id)
  scope: poisonQueue
  properties: {
    principalId: workerPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: workerRole.id
  }
}

resource workerOnRecords 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(records.id, workerPrincipalId, workerRole.id)
  scope: records
  properties: {
    principalId: workerPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: workerRole.id
  }
}

resource workerOnInsights 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(component.id, workerPrincipalId, builtIn.metricsPublisher)
  scope: component
  properties: {
    principalId: workerPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', builtIn.metricsPublisher)
  }
}

// -- the gallery -----------------------------------------------------------------------------------------------------

// The role that the documentation of publishing with an identity asks for, on the packages alone.
resource publisherOnPackages 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(packages.id, publisherPrincipalId, builtIn.blobContributor)
  scope: packages
  properties: {
    principalId: publisherPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', builtIn.blobContributor)
  }
}

// -- the operator ----------------------------------------------------------------------------------------------------

// Starts a VM again after an eviction, and evicts one for a test: never the worker's own. To reprice one takes
// virtualMachines/write, which may change anything about it: leave that to an owner.
resource operatorRole 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, 'spotfsm operator')
  properties: {
    roleName: 'spotfsm operator ${uniqueString(resourceGroup().id)}'
    description: 'Look at VMs, start and deallocate them, and simulate evictions.'
    type: 'CustomRole'
    assignableScopes: [
      resourceGroup().id
    ]
    permissions: [
      {
        actions: [
          'Microsoft.Compute/virtualMachines/read'
          'Microsoft.Compute/virtualMachines/instanceView/read'
          'Microsoft.Compute/virtualMachines/start/action'
          'Microsoft.Compute/virtualMachines/deallocate/action'
          'Microsoft.Compute/virtualMachines/simulateEviction/action'
        ]
      }
    ]
  }
}

resource operatorOnGroup 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (hasOperator) {
  name: guid(resourceGroup().id, operatorPrincipalId, operatorRole.id)
  properties: {
    principalId: operatorPrincipalId
    principalType: operatorPrincipalType
    roleDefinitionId: operatorRole.id
  }
}

resource operatorOnInsights 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (hasOperator) {
  name: guid(component.id, operatorPrincipalId, builtIn.reader)
  scope: component
  properties: {
    principalId: operatorPrincipalId
    principalType: operatorPrincipalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', builtIn.reader)
  }
}

// Owner of the subscription or not: without shared keys, messages and blobs take a role of their own.
resource operatorOnQueues 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (hasOperator) {
  name: guid(account.id, operatorPrincipalId, builtIn.queueContributor)
  scope: account
  properties: {
    principalId: operatorPrincipalId
    principalType: operatorPrincipalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', builtIn.queueContributor)
  }
}

resource operatorOnBlobs 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (hasOperator) {
  name: guid(account.id, operatorPrincipalId, builtIn.blobContributor)
  scope: account
  properties: {
    principalId: operatorPrincipalId
    principalType: operatorPrincipalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', builtIn.blobContributor)
  }
}

output workerRoleName string = workerRole.name
output operatorRoleName string = operatorRole.name

// Those of custom roles: a role that is assigned cannot be deleted.
output customAssignments array = concat(
  [
    workerOnQueue.id
    workerOnPoisonQueue.id
    workerOnRecords.id
  ],
  hasOperator ? [operatorOnGroup.id] : []
)
